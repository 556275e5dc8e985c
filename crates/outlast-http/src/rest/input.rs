//! `POST /tasks/{id}/input`: answers to a task's questions. The first answer wins, whoever gives it.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use outlast_core::machine::Answered;
use outlast_core::{Principal, RawJson, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Id, Members, Runner};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// Answers by the key of their question. A subset of the open questions is welcome.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Answers {
    /// Each is the protocol's response to the request: for a form
    /// `{"action": "accept", "content": {…}}`, or `decline`, or `cancel`.
    #[schema(value_type = BTreeMap<String, Object>)]
    input_responses: BTreeMap<String, RawJson>,
}

/// What became of the answers.
#[derive(Serialize, ToSchema)]
pub(super) struct AnswersTaken {
    /// Keys that were open and are answered now.
    accepted: Vec<String>,
    /// Keys that were never asked, or had been answered before.
    ignored: Vec<String>,
    /// The task after it.
    task: TaskView,
}

/// Answers questions of a task.
#[utoipa::path(
    post, path = "/tasks/{id}/input", tag = "tasks", request_body = Answers,
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The answers were taken.", body = AnswersTaken),
        (status = 400, description = "The body does not fit, or an answer does not fit its question; nothing was taken.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
    )
)]
pub(super) async fn input(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
    base: Base,
    Members(given): Members<Answers>,
) -> Result<Answer<AnswersTaken>, Problem> {
    let answered = take(&api, &who, id, given.input_responses).await?;
    let task = api.handle().get(&who, id).await?;
    Ok(Answer(AnswersTaken {
        accepted: answered.accepted,
        ignored: answered.ignored,
        task: TaskView::whole(&task, &base),
    }))
}

/// Takes answers: all that fit their questions, or none.
pub(super) async fn take(
    api: &Api,
    who: &Principal,
    id: TaskId,
    answers: BTreeMap<String, RawJson>,
) -> Result<Answered, Problem> {
    if answers.is_empty() {
        return Err(Problem::bad(
            "\"inputResponses\" is empty; give at least one answer by the key of its question",
        ));
    }
    let task = api.handle().get(who, id).await?;
    for input in task.open_inputs() {
        if let Some(answer) = answers.get(&input.request.key) {
            outlast_mcp::check_answer(&input.request, answer).map_err(|why| {
                Problem::bad(format!("the answer to {:?} {why}", input.request.key))
            })?;
        }
    }
    Ok(api.handle().answer(who, id, answers).await?)
}
