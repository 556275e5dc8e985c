//! Tools that ask.

use outlast::prelude::*;
use outlast::{Answer, Ask, InputRequest, RawJson, question};
use serde::Deserialize;

use crate::rounds::ask_for_everything;

pub(crate) fn tools() -> [Tool; 4] {
    [
        ask_around(),
        confirm_delete(),
        multi_input(),
        test_tool_with_task(),
    ]
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Confirmation {
    /// Whether to go on.
    confirm: bool,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Name {
    /// A name.
    name: String,
}

/// Deletes nothing, after having asked. May be run again after a crash: what it did by then was to ask.
#[tool(task, destructive, repeatable)]
async fn confirm_delete(filename: String, cx: Cx) -> Result<String> {
    let question = format!("Delete {filename}?");
    Ok(match cx.ask::<Confirmation>("confirm", question).await? {
        Answer::Accepted(Confirmation { confirm: true }) => format!("deleted {filename}"),
        Answer::Accepted(_) | Answer::Declined => format!("kept {filename}"),
        Answer::Cancelled => format!("kept {filename}: the question was dismissed"),
        Answer::Expired => format!("kept {filename}: nobody answered in time"),
    })
}

/// Asks two questions at the same time.
#[tool(task)]
async fn multi_input(cx: Cx) -> Result<String> {
    let questions = vec![
        question::<Name>("first_name", "What is your first name?")?,
        question::<Name>("last_name", "What is your last name?")?,
    ];
    let answers = cx.ask_all(questions).await?;
    Ok(format!("{} answers", answers.len()))
}

/// Asks for a name, for a text of the client's model and for its folders, at the same time.
#[tool(task)]
async fn ask_around(cx: Cx) -> Result<String> {
    ask_for_everything(&cx).await
}

/// Asks for a name before the task exists, and greets in it.
#[tool(task = "required", ask_first = who)]
async fn test_tool_with_task(cx: Cx) -> Result<String> {
    #[derive(Deserialize)]
    struct Response {
        content: Option<Name>,
    }
    let name = match cx.first_answer("user_name") {
        Some(answer) => answer.to::<Response>()?.content,
        None => None,
    };
    Ok(match name {
        Some(Name { name }) => format!("Hello, {name}!"),
        None => "Hello, whoever you are!".into(),
    })
}

fn who(_arguments: &RawJson) -> Result<Vec<InputRequest>> {
    Ok(vec![question::<Name>("user_name", "What is your name?")?])
}
