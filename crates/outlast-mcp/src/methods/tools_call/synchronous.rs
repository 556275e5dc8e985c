//! A call whose caller waits for the result.
//!
//! A client that goes away ends the call in the newer era and not in the older one, unless the tool
//! says that it goes on; a client of either era that says `notifications/cancelled` ends it
//! (2025-11-25 transports, "Sending Messages"; 2026-07-28 Streamable HTTP, "Receiving Messages").
//!
//! A call that takes long is answered with the id of its task (`detach`). A call that asks is answered
//! with its questions in the newer era, and goes on with the retry; in the older one the questions
//! are requests on its stream. If the caller cannot answer what a task asks, somebody else may, and
//! there is nothing to wait for: such a call detaches at once, where it may.
//!
//! Several callers may wait for one run (an idempotency key, a tool that joins equal calls). What it asks is
//! asked of each of them in the newer era, of whoever came late with the next heartbeat, and of one at a time in the older
//! one. The first answer counts, whoever gives it; an answer that comes later changes nothing, and all get
//! the result.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::{Answer, InputRequest, Level, Outcome, RawJson, TaskId};
use outlast_engine::{
    BoxFuture, DetachAfter, NewCall, Observer, OnDisconnect, OnDrop, Running, TaskSupport, Tool,
};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::request_state::{self, Kept};
use super::resume::heartbeat;
use super::{asking, detached, input_required, meta_of_result, result};
use crate::answers;
use crate::context::{Context, Reply, from_store, of_store};
use crate::follow;
use crate::jsonrpc::{RpcError, code, string};
use crate::parting;
use crate::report::Report;
use crate::wire;

/// How long after a failed try a call is detached, or asks, again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a call needs besides itself.
pub(in crate::methods) struct Waiting {
    pub(in crate::methods) report: Report,
    pub(in crate::methods) detach: DetachAfter,
    /// Answers that came with the call, of the newer era.
    pub(in crate::methods) given: BTreeMap<String, RawJson>,
    /// What a state between the rounds is bound to; `None`: the arguments, read again if it comes to that.
    pub(in crate::methods) bound: Option<RawJson>,
}

pub(super) async fn run(cx: &Context<'_>, new: NewCall, waiting: Waiting) -> Reply {
    run_and(cx, new, waiting, |outcome| respond(cx, outcome)).await
}

/// Runs a call and answers with what `respond` makes of its outcome.
pub(in crate::methods) async fn run_and(
    cx: &Context<'_>,
    new: NewCall,
    waiting: Waiting,
    respond: impl FnOnce(Outcome) -> Reply,
) -> Reply {
    let tool = Arc::clone(&new.tool);
    let report = Arc::new(waiting.report);
    let observer = Arc::clone(&report) as Arc<dyn Observer>;
    let running = cx.server.handle.call(new, Some(observer), OnDrop::Cancel);
    let mut caller = Caller {
        cx,
        report: &report,
        running: Some(running),
        goes_on: cx.version.era() == Era::Legacy
            || tool.serving.on_disconnect == OnDisconnect::Detach,
    };
    let mut running = Pin::new(caller.running.as_mut().expect("put there above"));
    // A quick tool is done at once and needs no timer.
    let first = std::future::poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await;
    if let Poll::Ready(outcome) = first {
        return caller.answer(&tool, outcome, respond).await;
    }
    // Rare and long: kept out of the future that every call is.
    let end = Box::pin(wait(
        cx,
        &tool,
        running,
        &report,
        waiting.detach,
        waiting.given,
    ))
    .await?;
    match end {
        End::Outcome(outcome) => caller.answer(&tool, outcome, respond).await,
        End::Detach => {
            let id = caller.let_go();
            Box::pin(detached(cx, id, |told| result(cx, &told))).await
        }
        End::Asks(questions) => {
            let arguments = match waiting.bound {
                Some(bound) => bound,
                None => super::arguments_again(cx)?,
            };
            let kept = if tool.task == TaskSupport::Forbidden {
                let running = caller.running.as_ref().expect("it has not ended");
                let asked = questions.iter().map(|question| question.key.clone());
                Kept::Carried(running.carried(), asked.collect())
            } else {
                Kept::Stored(caller.let_go())
            };
            let state = request_state::seal(cx, &tool.name, &arguments, kept)?;
            // A run without a record ends here; the retry goes on with what it recorded.
            caller.goes_on = false;
            let questions: Vec<_> = questions.iter().collect();
            Ok(input_required(cx, &questions, Some(&state)))
        }
    }
}

/// How the wait for a call ends.
enum End {
    Outcome(Outcome),
    /// It has a record and goes on without its caller.
    Detach,
    /// It waits for answers of its caller, of the newer era.
    Asks(Vec<InputRequest>),
}

/// What happens next to a running call.
enum Next {
    Outcome(Outcome),
    Asks,
}

async fn wait(
    cx: &Context<'_>,
    tool: &Tool,
    mut running: Pin<&mut Running>,
    report: &Report,
    detach: DetachAfter,
    mut given: BTreeMap<String, RawJson>,
) -> Result<End, RpcError> {
    let heartbeat = heartbeat(cx, tool);
    let mut detach_at = match detach {
        DetachAfter::Never => None,
        DetachAfter::After(after) => Some(Instant::now() + after),
    };
    let mut storing: Option<BoxFuture<'static, outlast_engine::Result<bool>>> = None;
    let mut ask_again: Option<Instant> = None;
    let mut asked: JoinSet<(String, Answer)> = JoinSet::new();
    loop {
        let next = std::future::poll_fn(|task| match running.as_mut().poll(task) {
            Poll::Ready(outcome) => Poll::Ready(Next::Outcome(outcome)),
            // Work that is going to be recorded is waited for: the next run would have to repeat it.
            Poll::Pending
                if report.has_asked() && !running.is_recording() && ask_again.is_none() =>
            {
                Poll::Ready(Next::Asks)
            }
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            biased;
            next = next => match next {
                Next::Outcome(outcome) => return Ok(End::Outcome(outcome)),
                Next::Asks => {
                    let questions = report.take_asked();
                    let end = if tool.task == TaskSupport::Forbidden {
                        ask_caller(cx, &running, questions, &mut given, &mut asked)?
                    } else {
                        match ask_for_task(cx, running.id(), &questions, &mut given, detach).await {
                            Ok(None) => {
                                report.awaits(&questions);
                                None
                            }
                            Ok(end) => end,
                            Err(Unasked::Refused(error)) => return Err(error),
                            Err(Unasked::Later(error)) => {
                                tracing::warn!(%error, "a call could not ask; trying again");
                                report.asked(&questions);
                                ask_again = Some(Instant::now() + AGAIN);
                                None
                            }
                        }
                    };
                    if let Some(end) = end {
                        return Ok(end);
                    }
                }
            },
            Some(answered) = asked.join_next(), if !asked.is_empty() => {
                if let Ok((key, answer)) = answered {
                    running.answer(key, answer);
                }
            }
            stored = async { storing.as_mut().expect("checked").await }, if storing.is_some() => {
                storing = None;
                match stored {
                    Ok(true) => return Ok(End::Detach),
                    // It has ended, and says so in a moment; or it has no record yet.
                    Ok(false) => detach_at = Some(Instant::now() + AGAIN),
                    Err(error) => {
                        tracing::warn!(%error, "a call could not be detached; trying again");
                        detach_at = Some(Instant::now() + AGAIN);
                    }
                }
            }
            () = tokio::time::sleep_until(detach_at.unwrap_or_else(Instant::now)), if detach_at.is_some() => {
                detach_at = None;
                storing = Some(Box::pin(running.store()));
            }
            () = tokio::time::sleep_until(ask_again.unwrap_or_else(Instant::now)), if ask_again.is_some() => {
                ask_again = None;
            }
            () = tokio::time::sleep(heartbeat) => {
                report.alive();
                // A task that was suspended and runs elsewhere asks through its record alone.
                if cx.session.is_none() && running.is_stored() {
                    match open_questions(cx, running.id()).await {
                        Ok(open) if open.is_empty() => {}
                        Ok(open) => return Ok(End::Asks(open)),
                        // What runs goes on without its record.
                        Err(error) => {
                            tracing::warn!(%error, "cannot see whether a call asks; looking again");
                        }
                    }
                }
            }
        }
    }
}

/// Why the questions of a task did not get to its caller.
enum Unasked {
    /// The store could not be reached. The task waits for its answers all the same.
    Later(outlast_core::Error),
    /// The call ends with this.
    Refused(RpcError),
}

impl From<outlast_core::Error> for Unasked {
    fn from(error: outlast_core::Error) -> Self {
        if error.is_retryable() {
            Self::Later(error)
        } else {
            Self::Refused(from_store(error))
        }
    }
}

impl From<RpcError> for Unasked {
    fn from(error: RpcError) -> Self {
        Self::Refused(error)
    }
}

/// What a stored call asks that its caller, of the newer era, can answer.
async fn open_questions(cx: &Context<'_>, id: TaskId) -> outlast_core::Result<Vec<InputRequest>> {
    let task = cx.server.handle.get(cx.principal, id).await?;
    Ok(follow::questions(cx, &task))
}

/// A run without a record asks its own caller. `None` if it goes on waiting here.
fn ask_caller(
    cx: &Context<'_>,
    running: &Running,
    questions: Vec<InputRequest>,
    given: &mut BTreeMap<String, RawJson>,
    asked: &mut JoinSet<(String, Answer)>,
) -> Result<Option<End>, RpcError> {
    if let Some(session) = cx.session {
        for question in questions {
            let (server, session) = (Arc::clone(cx.server), Arc::clone(session));
            let (outlet, id) = (cx.outlet.clone(), running.id());
            asked.spawn(async move {
                let key = question.key.clone();
                (
                    key,
                    asking::ask(server, session, outlet, id, question).await,
                )
            });
        }
        return Ok(None);
    }
    let mut open = Vec::new();
    for question in questions {
        match take_fitting(given, &question)? {
            Some(answer) => running.answer(question.key, Answer::Given(answer)),
            None => open.push(question),
        }
    }
    Ok((!open.is_empty()).then_some(End::Asks(open)))
}

/// A task asks: its caller, if that can answer, else whoever can. `None` if it goes on waiting here.
async fn ask_for_task(
    cx: &Context<'_>,
    id: TaskId,
    questions: &[InputRequest],
    given: &mut BTreeMap<String, RawJson>,
    detach: DetachAfter,
) -> Result<Option<End>, Unasked> {
    let can = |question: &InputRequest| answers::can(cx.capabilities, question);
    if cx.session.is_none() {
        let mut fitting = BTreeMap::new();
        for question in questions.iter().filter(|question| can(question)) {
            if let Some(answer) = take_fitting(given, question)? {
                fitting.insert(question.key.clone(), answer);
            }
        }
        if !fitting.is_empty() {
            let handle = &cx.server.handle;
            let answered = handle.answer(cx.principal, id, fitting.clone()).await;
            if let Err(error) = answered {
                given.extend(fitting);
                return Err(error.into());
            }
        }
        let open = open_questions(cx, id).await?;
        if !open.is_empty() {
            return Ok(Some(End::Asks(open)));
        }
    }
    let for_others = questions.iter().any(|question| !can(question));
    Ok((for_others && detach != DetachAfter::Never).then_some(End::Detach))
}

/// The answer that came with the call, if there is one to this question.
fn take_fitting(
    given: &mut BTreeMap<String, RawJson>,
    question: &InputRequest,
) -> Result<Option<RawJson>, RpcError> {
    let Some(answer) = given.remove(&question.key) else {
        return Ok(None);
    };
    answers::check(question, &answer).map_err(|why| {
        RpcError::invalid_params(format!("the answer to {:?} {why}", question.key))
    })?;
    Ok(Some(answer))
}

fn respond(cx: &Context<'_>, outcome: Outcome) -> Reply {
    match outcome {
        // As an error of the request, so that it has the status that belongs to the code.
        Outcome::Failed(failure) if failure.code == code::MISSING_CAPABILITY => Err(RpcError {
            code: failure.code,
            message: failure.message.into(),
            data: failure.data,
        }),
        outcome => Ok(wire::response(
            cx.id.get(),
            &outcome,
            cx.version,
            meta_of_result(cx).as_slice(),
        )),
    }
}

/// The one who waits. Dropped before the end, it decides what becomes of the call.
struct Caller<'a> {
    cx: &'a Context<'a>,
    report: &'a Report,
    running: Option<Running>,
    /// The call goes on without its caller.
    goes_on: bool,
}

impl Caller<'_> {
    /// Answers a call that has ended. One that was refused is an error of the request, with its data.
    async fn answer(
        &mut self,
        tool: &Tool,
        outcome: Outcome,
        respond: impl FnOnce(Outcome) -> Reply,
    ) -> Reply {
        let running = self.running.take().expect("it is answered once");
        if running.goes_on() {
            self.report.end();
            return Box::pin(parting::of_call(self.cx, tool, running.id())).await;
        }
        match running.refused() {
            Some(error) => Err(of_store(error)),
            None => respond(outcome),
        }
    }

    /// Lets a stored call go on as a task.
    fn let_go(&mut self) -> TaskId {
        let running = self.running.take().expect("it has not ended");
        let id = running.id();
        self.report.end();
        running.detach();
        self.cx.introduce(id);
        id
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.report.end();
        if let Some(running) = self.running.take()
            && self.goes_on
            && !self.cx.is_cancelled()
        {
            running.detach();
        }
    }
}

/// From which level on log messages are sent with the call, if any are.
///
/// The newer era says so with each request, or wants none. In the older one a client may have said
/// so for its session; if it has not, a tool that is never a task speaks from `info` on, and one that
/// can be a task, whose log may be long, is silent: its log can be read elsewhere.
pub(in crate::methods) fn level(
    cx: &Context<'_>,
    support: TaskSupport,
) -> Result<Option<Level>, RpcError> {
    match cx.session {
        Some(session) => Ok(session
            .level()
            .or_else(|| (support == TaskSupport::Forbidden).then_some(Level::Info))),
        None => cx.meta.log_level.map(parse_level).transpose(),
    }
}

fn parse_level(raw: &RawValue) -> Result<Level, RpcError> {
    let level =
        string(raw).and_then(|text| Level::ALL.into_iter().find(|level| level.as_str() == text));
    level.ok_or_else(|| {
        RpcError::invalid_params(format!(
            "unknown log level {}; use debug, info, notice, warning, error, critical, alert or emergency",
            raw.get()
        ))
    })
}
