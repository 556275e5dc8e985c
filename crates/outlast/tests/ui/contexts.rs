use outlast::prelude::*;

#[tool]
fn blocking(cx: Cx) {
    cx.info("x");
}

#[tool]
async fn not_blocking(cx: BlockingCx) {
    cx.info("x");
}

fn main() {}
