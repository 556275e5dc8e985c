use outlast::prelude::*;

#[prompt]
async fn not_a_task(cx: Cx) -> String {
    String::new()
}

#[prompt(task)]
async fn unknown_option() -> String {
    String::new()
}

#[prompt]
async fn no_messages() -> u32 {
    5
}

#[prompt]
async fn wrong_completion(#[complete = "x"] a: String) -> String {
    a
}

#[tool]
async fn no_completion(#[complete(x)] a: String) -> String {
    a
}

#[tool]
async fn not_a_request(cx: RequestCx) -> String {
    String::new()
}

#[resource]
async fn no_uri() -> String {
    String::new()
}

#[resource("x://{b}")]
async fn other_variable(a: String) -> String {
    a
}

#[resource("x://{a}/{b}")]
async fn missing_parameter(a: String) -> String {
    a
}

#[resource("x://a")]
async fn no_contents() -> u32 {
    5
}

#[resource("x://a", cache = "soon")]
async fn no_duration() -> String {
    String::new()
}

fn main() {}
