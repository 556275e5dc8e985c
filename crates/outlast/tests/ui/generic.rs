use outlast::prelude::*;

#[tool]
async fn generic<T: ToString>(value: T) -> String {
    value.to_string()
}

#[tool]
async fn with_where(value: String) -> String
where
    String: Clone,
{
    value
}

fn main() {}
