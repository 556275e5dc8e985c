use outlast::prelude::*;

struct Opaque;

#[tool]
async fn takes_what_json_cannot_be(value: Opaque) {
    let _ = value;
}

#[tool]
async fn returns_what_json_cannot_be() -> Opaque {
    Opaque
}

#[tool]
async fn fails_without_a_word() -> Result<String, Opaque> {
    Err(Opaque)
}

async fn forgotten() {}

fn main() {
    let _ = Server::new("x").tool(forgotten);
}
