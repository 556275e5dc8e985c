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

#[tool(task, labels(team = "x", team = "y"))]
async fn labelled_twice() {}

#[tool(task, labels("" = "x"))]
async fn badly_labelled() {}

#[tool(task, schedule = "61 * * * *")]
async fn never_called() {}

#[tool(task, schedule = "0 3 * * *", time_zone = "Mars/Olympus")]
async fn elsewhere() {}

#[tool(task, every = "1h", time_zone = "Europe/Berlin")]
async fn zoned_in_vain() {}

#[tool(task = "forbidden", every = "1h")]
async fn calls_itself_in_vain() {}

#[tool]
async fn badly_defaulted(#[default] n: u32) -> u32 {
    n
}

#[tool]
struct NoFunction;

fn main() {}
