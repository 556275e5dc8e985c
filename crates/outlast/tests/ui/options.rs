use outlast::prelude::*;

#[tool(tsk)]
async fn misspelt() {}

#[tool(task = "sometimes")]
async fn sometimes() {}

#[tool(task, task)]
async fn twice() {}

#[tool(retention = "7 days")]
async fn too_wordy() {}

#[tool(name = "with a space")]
async fn badly_named() {}

#[tool(task = "forbidden", ask_first = questions)]
async fn asks_in_vain() {}

#[tool]
async fn badly_defaulted(#[default] n: u32) -> u32 {
    n
}

#[tool]
struct NoFunction;

fn main() {}
