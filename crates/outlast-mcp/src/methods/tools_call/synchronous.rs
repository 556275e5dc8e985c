//! A call whose caller waits for the result.
//!
//! A client that goes away ends the call in the newer era and not in the older one; a client of
//! either era that says `notifications/cancelled` ends it (2025-11-25 transports, "Sending
//! Messages"; 2026-07-28 Streamable HTTP, "Receiving Messages").

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::{Level, RawJson};
use outlast_engine::{NewCall, Observer, OnDrop, Running, TaskSupport};
use serde_json::value::RawValue;

use super::meta_of_result;
use super::report::Report;
use crate::context::{Context, Reply};
use crate::jsonrpc::{RpcError, string};
use crate::wire;

/// How often a call that still runs says so.
const HEARTBEAT: Duration = Duration::from_secs(5);

pub(super) async fn run(cx: &Context<'_>, new: NewCall, token: Option<RawJson>) -> Reply {
    let level = level(cx, new.tool.task)?;
    let report = Arc::new(Report::new(cx, token, level));
    let observer = Arc::clone(&report) as Arc<dyn Observer>;
    let running = cx.server.handle.call(new, Some(observer), OnDrop::Cancel);
    let mut caller = Caller {
        cx,
        report: &report,
        running: Some(running),
    };
    let mut running = Pin::new(caller.running.as_mut().expect("put there above"));
    // A quick tool is done at once and needs no timer.
    let first = std::future::poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await;
    let outcome = match first {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => loop {
            tokio::select! {
                biased;
                outcome = &mut running => break outcome,
                () = tokio::time::sleep(HEARTBEAT) => report.alive(),
            }
        },
    };
    caller.running = None;
    Ok(wire::response(
        cx.id.get(),
        &outcome,
        cx.version,
        &meta_of_result(cx),
    ))
}

/// The one who waits. Dropped before the end, it decides what becomes of the call.
struct Caller<'a> {
    cx: &'a Context<'a>,
    report: &'a Report,
    running: Option<Running>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.report.end();
        if let Some(running) = self.running.take()
            && self.cx.version.era() == Era::Legacy
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
fn level(cx: &Context<'_>, support: TaskSupport) -> Result<Option<Level>, RpcError> {
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
