//! What a model is told of a task that has not ended, in text and as data.

use outlast_core::{AnswerBy, Input, InputRequest, RawJson, Task, TaskId, TaskStatus, ToolResult};
use serde::Deserialize;

use crate::context::Context;
use crate::wire::{self, Object};

/// A task that goes on, as the result of a call: what it is doing, and what to call next. `first`
/// opens the text.
pub(crate) fn unfinished(cx: &Context<'_>, task: &Task, first: &str, helpers: bool) -> ToolResult {
    let mut text = format!("{first}{}", standing(cx, task));
    text.push_str(&next_step(task, helpers));
    ToolResult {
        structured: Some(data(cx, task)),
        ..ToolResult::text(text)
    }
}

/// The same of a task that goes on and whose record cannot be read now.
pub(crate) fn unseen(id: TaskId, helpers: bool) -> ToolResult {
    let data = crate::server::object(|object| {
        object
            .plain("taskId", id)
            .plain("status", TaskStatus::Working.as_str());
    });
    ToolResult {
        structured: Some(data),
        ..ToolResult::text(format!("Task {id} is working.{}", later(id, helpers)))
    }
}

/// The id, the tool, the status and the sentence about it.
pub(super) fn standing(cx: &Context<'_>, task: &Task) -> String {
    let status = task.status(cx.version.era()).as_str();
    let message = task.status_message();
    let message = message
        .map(|message| format!(" ({message})"))
        .unwrap_or_default();
    format!(
        "Task {} ({}) is {status}{message}.",
        task.id(),
        task.spec.tool
    )
}

fn next_step(task: &Task, helpers: bool) -> String {
    let id = task.id();
    let mut step = String::new();
    for input in task.open_inputs() {
        let key = &input.request.key;
        let asked = asked(&input.request);
        step.push_str(&match (input.request.answer_by, helpers) {
            (AnswerBy::Model, true) => format!(
                " It asks: {asked:?}. Answer with task_answer: {}.{}",
                arguments(id, Some(key)),
                schema(input)
                    .map(|schema| format!(" \"content\" must fit {}", schema.as_str()))
                    .unwrap_or_default(),
            ),
            _ => format!(" It {}.", waits_for_a_person(&input.request)),
        });
    }
    step.push_str(&later(id, helpers));
    step
}

/// How to come to the result of a task that goes on.
fn later(id: TaskId, helpers: bool) -> String {
    let how = if helpers {
        format!(
            "Call task_wait with {} for the result.",
            arguments(id, None)
        )
    } else {
        "The result is kept under this id.".to_owned()
    };
    format!(" The work goes on by itself; do not call the tool again. {how}")
}

fn arguments(id: TaskId, key: Option<&str>) -> String {
    let mut out = Vec::new();
    {
        let mut object = Object::new(&mut out);
        object.plain("taskId", id);
        if let Some(key) = key {
            object.text("key", key);
        }
    }
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// The task as data: a handful of members that a model or a program looks at.
pub(super) fn data(cx: &Context<'_>, task: &Task) -> RawJson {
    crate::server::object(|object| {
        object
            .plain("taskId", task.id())
            .plain("status", task.status(cx.version.era()).as_str())
            .text("tool", &task.spec.tool);
        if let Some(message) = task.status_message() {
            object.text("statusMessage", &message);
        }
        object
            .plain("createdAt", task.state.created_at)
            .plain("lastUpdatedAt", task.state.updated_at);
        if task.open_inputs().next().is_some() && !task.is_finished() {
            let questions = object.buffer("questions");
            questions.push(b'[');
            for (index, input) in task.open_inputs().enumerate() {
                if index > 0 {
                    questions.push(b',');
                }
                question(&mut Object::new(questions), input);
            }
            questions.push(b']');
        }
        wire::figures(object, task);
    })
}

fn question(object: &mut Object<'_>, input: &Input) {
    object.text("key", &input.request.key);
    if let Some(message) = message(&input.request) {
        object.text("message", &message);
    }
    if let Some(schema) = schema(input) {
        object.raw("requestedSchema", schema.as_str());
    }
    object.plain(
        "answerBy",
        match input.request.answer_by {
            AnswerBy::Person => "person",
            AnswerBy::Model => "model",
        },
    );
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "requestedSchema")]
    schema: Option<RawJson>,
}

/// How a status message begins that tells of a question to a caller who cannot answer it.
pub const WAITS_FOR_A_PERSON: &str = "waits for a person to answer";

/// What a caller is told who cannot answer the question.
pub(crate) fn waits_for_a_person(question: &InputRequest) -> String {
    let asked = asked(question);
    format!("{WAITS_FOR_A_PERSON}: {asked:?}, in a client that shows the questions of tasks")
}

fn asked(question: &InputRequest) -> String {
    message(question).unwrap_or_else(|| question.method.clone())
}

fn message(question: &InputRequest) -> Option<String> {
    question.params.to::<Asked>().ok()?.message
}

fn schema(input: &Input) -> Option<RawJson> {
    input.request.params.to::<Asked>().ok()?.schema
}
