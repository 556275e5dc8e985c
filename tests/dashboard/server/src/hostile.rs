//! A tool that says what a page must not believe.

use outlast::prelude::*;
use serde_json::json;

pub(crate) fn tools() -> [Tool; 1] {
    [hostile()]
}

const MARKUP: &str =
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

/// <img src=x onerror="document.title='owned'"> Puts markup wherever a task can put something.
#[tool(task)]
async fn hostile(text: String, cx: Cx) -> Result<String> {
    cx.progress().total(2).done(1).message(MARKUP);
    cx.info(MARKUP);
    cx.partial(json!({ MARKUP: MARKUP })).await?;
    let page = format!("<!doctype html><script>document.title='owned'</script>{text}");
    cx.artifact("page.html", "text/html", page).await?;
    cx.step(MARKUP, || async { Ok(MARKUP.to_owned()) }).await?;
    Ok(MARKUP.to_owned())
}
