//! `task_wait`: the result of a task, if it comes in time.
//!
//! Bounded, so that it returns before the client gives up. While it waits it is a way to the client
//! like `tasks/result` is: the questions of the task that the client can answer reach it, in the
//! older era as requests on the call's stream, in the newer one as an `InputRequiredResult` whose
//! retry brings the answers. So even a client that knows nothing of tasks answers what they ask.

use std::time::Duration;

use outlast_core::{RawJson, Scope, ToolResult};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{arguments, serve, unfinished};
use crate::context::{Context, Reply, from_store};
use crate::follow::{self, Followed, Report};
use crate::methods::tasks_update;
use crate::methods::tools_call::{input_required, result};
use crate::parting;
use crate::session::Outlet;

/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(25);

pub(super) async fn handle(
    cx: &Context<'_>,
    arguments: &RawJson,
    responses: Option<&RawValue>,
    token: Option<RawJson>,
) -> Reply {
    let read = arguments::read::<arguments::Wait>("task_wait", arguments).and_then(|wait| {
        let patience = wait.patience()?;
        Ok((arguments::id(&wait.task_id)?, patience))
    });
    let (id, patience) = match read {
        Ok(read) => read,
        Err(problem) => return Ok(result(cx, &ToolResult::error(problem))),
    };
    let task = match serve::get(cx, id).await? {
        Ok(task) => task,
        Err(problem) => return Ok(result(cx, &ToolResult::error(problem))),
    };
    // Keys are unique for the life of the task, so answers need no state that says what was asked.
    let may_answer = cx.session.is_none() && cx.principal.may(Scope::Run);
    if responses.is_some() && may_answer {
        tasks_update::answer(cx, &task, tasks_update::parse(responses)?).await?;
    }
    // Read after the answers are in, so that what they answer is not asked again.
    let watch = cx.server.handle.watch(cx.principal, id).await;
    let mut watch = watch.map_err(from_store)?;
    let report = Report::new(cx, token, None);
    let waits = follow::attach(cx, watch.task()).await?;
    cx.outlet.lasts(cx.id, None);
    let until = Some(Instant::now() + patience);
    let heartbeat = cx.server.config.heartbeat;
    let followed = follow::follow(cx, &mut watch, &report, heartbeat, until).await?;
    drop(waits);
    Ok(match followed {
        Followed::Finished => result(cx, &serve::ended(cx, watch.task()).await?),
        Followed::Asks(questions) => {
            let questions: Vec<_> = questions.iter().collect();
            input_required(cx, &questions, None)
        }
        Followed::Stopping if matches!(cx.outlet, Outlet::Relayed(_)) => {
            return parting::without_response(cx).await;
        }
        Followed::StillRunning | Followed::Stopping => {
            result(cx, &unfinished(cx, watch.task(), "", true))
        }
    })
}
