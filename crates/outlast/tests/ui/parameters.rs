use outlast::prelude::*;

struct Pool;

#[tool]
async fn borrowed_text(name: &str) -> String {
    name.to_owned()
}

#[tool]
async fn borrowed_list(names: &[String], count: &u32) -> usize {
    names.len() + *count as usize
}

#[tool]
async fn hidden(value: impl ToString) -> String {
    value.to_string()
}

#[tool]
async fn unnamed((a, b): (u32, u32)) -> u32 {
    a + b
}

#[tool]
async fn state_of_what(pool: State) -> u32 {
    0
}

#[tool]
async fn state_by_reference(pool: &State<Pool>) -> u32 {
    0
}

struct Service;

impl Service {
    #[tool]
    async fn method(&self) -> u32 {
        0
    }
}

fn main() {}
