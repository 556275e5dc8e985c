//! What a synchronous call says before its result: progress, signs of life, log messages, questions.
//!
//! Everything goes to the call's own stream, in the older era also what a call asks once it has been
//! written down as a task. Progress values always increase, also those that only
//! say that the call is alive, because clients count them as life and the protocol wants them to.
//! Nothing is said once the call has been answered (2025-11-25 and 2026-07-28 progress, "Behavior
//! Requirements").
//!
//! A call that is not a task can ask its own caller alone, so the caller must have declared that it
//! answers. The questions of a task wait for anybody who may answer them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::{InputRequest, Level, LogLine, Progress, RawJson, TaskId};
use outlast_engine::{Error, Observer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::answers;
use crate::context::Context;
use crate::helpers::waits_for_a_person;
use crate::protocol::{Capabilities, Version};
use crate::server::Inner;
use crate::session::{
    Attached, Outlet, Session, Waiter, lasting::Subject, next_value, progress_notification,
    url_completed,
};
use crate::spoken;
use crate::wire::Object;

pub(crate) struct Report {
    outlet: Outlet,
    token: Option<RawJson>,
    level: Option<Level>,
    version: Version,
    capabilities: Capabilities,
    begun: Instant,
    told: Mutex<Told>,
    /// The id of a request that another process can go on with.
    lasts: Option<Box<RawValue>>,
    /// Who can be asked on the stream.
    caller: Option<(Arc<Inner>, Arc<Session>)>,
    attached: Mutex<Option<Attached>>,
}

#[derive(Default)]
struct Told {
    value: Option<f64>,
    progress: Progress,
    /// What the run waits for and has not been looked at yet.
    asked: Vec<InputRequest>,
    /// The call has been answered.
    ended: bool,
}

impl Report {
    pub(crate) fn new(cx: &Context<'_>, token: Option<RawJson>, level: Option<Level>) -> Self {
        let caller = cx
            .session
            .map(|session| (Arc::clone(cx.server), Arc::clone(session)));
        Self {
            caller,
            lasts: matches!(cx.outlet, Outlet::Relayed(_)).then(|| cx.id.to_owned()),
            capabilities: cx.capabilities,
            ..Self::to(cx.outlet.clone(), token, level, cx.version)
        }
    }

    fn to(outlet: Outlet, token: Option<RawJson>, level: Option<Level>, version: Version) -> Self {
        Self {
            outlet,
            token,
            level,
            version,
            capabilities: Capabilities::default(),
            begun: Instant::now(),
            told: Mutex::default(),
            lasts: None,
            caller: None,
            attached: Mutex::default(),
        }
    }

    /// Goes on where another process stopped, which has served the call for `waited` and was the last to
    /// tell the value `told`, if it told any: those that follow are larger (2025-11-25 and 2026-07-28
    /// progress, "Progress Flow"). The work may have begun anew, with smaller figures.
    pub(crate) fn after(
        mut self,
        told: Option<f64>,
        progress: &Progress,
        waited: Duration,
    ) -> Self {
        self.begun = self.begun.checked_sub(waited).unwrap_or(self.begun);
        self.told = Mutex::new(Told {
            value: told,
            progress: progress.clone(),
            ..Told::default()
        });
        self
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nothing panics under this lock")
    }

    /// Whether the run has asked since [`Report::take_asked`].
    pub(crate) fn has_asked(&self) -> bool {
        !self.told().asked.is_empty()
    }

    /// What the run has asked since the last time.
    pub(crate) fn take_asked(&self) -> Vec<InputRequest> {
        std::mem::take(&mut self.told().asked)
    }

    /// The caller waits no more, or has its answer.
    pub(crate) fn end(&self) {
        self.told().ended = true;
        self.attached
            .lock()
            .expect("nothing panics under this lock")
            .take();
    }

    /// Says that the call is alive: as progress if the client wants any, with the time it has taken and
    /// the last message, else by making the response a stream, which carries signs of life of its own.
    pub(crate) fn alive(&self) {
        if self.token.is_some() {
            let last = self.told().progress.clone();
            let elapsed = spoken::time(self.begun.elapsed());
            let message = match &last.message {
                Some(message) => format!("{elapsed} · {message}"),
                None => elapsed,
            };
            self.send(&Progress {
                message: Some(message),
                ..last
            });
        } else {
            self.outlet.open()
        }
    }

    /// Says what the call waits for that its own caller cannot answer. Said once, with the figures there are:
    /// signs of life would repeat it when it has been answered.
    pub(crate) fn awaits(&self, questions: &[InputRequest]) {
        let cannot = |question: &&InputRequest| !answers::can(self.capabilities, question);
        if let Some(question) = questions.iter().find(cannot) {
            let progress = self.told().progress.clone();
            self.send(&Progress {
                message: Some(waits_for_a_person(question)),
                ..progress
            });
        }
    }

    fn send(&self, progress: &Progress) {
        let Some(token) = &self.token else { return };
        let mut told = self.told();
        if told.ended {
            return;
        }
        let last = told.value.unwrap_or(f64::NEG_INFINITY);
        let value = next_value(last, progress.done, progress.total);
        told.value = Some(value);
        let with_message = self.version.has_progress_message();
        // Sent under the lock: the order on the wire is the order of the values.
        self.outlet.send(progress_notification(
            token.as_str(),
            value,
            progress,
            with_message,
            None,
        ));
    }
}

impl Observer for Report {
    fn progress(&self, progress: &Progress) {
        self.told().progress = progress.clone();
        self.send(progress);
    }

    fn let_go(&self) {
        // Without an event that only has an id, the client has nothing to come back with.
        if !self.told().ended && self.version.has_priming_event() {
            self.outlet.let_go();
        }
    }

    fn stored(&self, task: TaskId) {
        if let Some(id) = &self.lasts {
            self.outlet.lasts(id, Some(task));
        }
        let Some((server, session)) = &self.caller else {
            return;
        };
        if self.told().ended {
            return;
        }
        if let Outlet::Exchange(exchange) = &self.outlet {
            exchange.is_about(Subject::Call(task));
        }
        // Whoever may call a tool may answer what the call asks.
        let waiter = Waiter {
            outlet: self.outlet.clone(),
            session: Arc::clone(session),
            may_answer: true,
        };
        let attached = server.couriers.attach(server, &session.owner, task, waiter);
        *self
            .attached
            .lock()
            .expect("nothing panics under this lock") = Some(attached);
    }

    fn may_ask(&self, questions: &[InputRequest], is_task: bool) -> outlast_engine::Result<()> {
        if is_task {
            return Ok(());
        }
        let cannot = |question: &&InputRequest| !answers::can(self.capabilities, question);
        match questions.iter().find(cannot) {
            None => Ok(()),
            Some(question) => Err(cannot_ask(question, self.version.era())),
        }
    }

    fn asked(&self, questions: &[InputRequest]) {
        self.told().asked.extend_from_slice(questions);
    }

    fn url_completed(&self, run: TaskId, key: &str) {
        if self.version.has_url_completion() && !self.told().ended {
            self.outlet.send(url_completed(run, key));
        }
    }

    fn log(&self, line: &LogLine) {
        if self.level.is_some_and(|least| line.level >= least) && !self.told().ended {
            self.outlet.send(log_message(line));
        }
    }
}

/// The error of a handler whose caller cannot be asked.
fn cannot_ask(question: &InputRequest, era: Era) -> Error {
    let capability = answers::capability(question);
    match era {
        // The client reads the code and what it must declare (2026-07-28, "Missing Capability").
        Era::Modern => {
            let error = answers::missing_capability(question);
            Error::failed(outlast_core::Failure {
                reason: outlast_core::FailureReason::Error,
                code: error.code,
                message: error.message.into_owned(),
                data: error.data,
            })
        }
        // No code says so; the model reads the sentence.
        Era::Legacy => Error::tool(format!(
            "this asks before it goes on, and the client did not declare {capability:?}; nothing was asked"
        )),
    }
}

/// `notifications/message`.
fn log_message(line: &LogLine) -> Vec<u8> {
    let text = String::from_utf8_lossy(&line.text);
    let mut out = Vec::with_capacity(128 + text.len());
    {
        let mut message = Object::new(&mut out);
        message
            .raw("jsonrpc", r#""2.0""#)
            .plain("method", "notifications/message");
        let mut params = message.object("params");
        params.plain("level", line.level.as_str());
        if !line.logger.is_empty() {
            params.text("logger", &line.logger);
        }
        params.text("data", text.trim_end_matches(['\n', '\r']));
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn every_value_is_larger_than_the_one_before() {
        let (sender, mut receiver) = mpsc::channel(16);
        let token = RawJson::parse("7").unwrap();
        let report = Report::to(
            Outlet::Lines(sender),
            Some(token),
            None,
            Version::V2025_11_25,
        );
        let progress = |done: f64| Progress {
            done,
            total: Some(4.0),
            message: Some("m".into()),
            ..Progress::default()
        };
        report.alive();
        report.progress(&progress(1.0));
        report.alive();
        report.alive();
        report.progress(&progress(1.0));
        report.progress(&progress(2.0));
        drop(report);
        let mut last = f64::NEG_INFINITY;
        let mut count = 0;
        while let Some(message) = receiver.recv().await {
            let value: serde_json::Value = serde_json::from_slice(&message).unwrap();
            assert_eq!(value["params"]["progressToken"], 7);
            let value = value["params"]["progress"].as_f64().unwrap();
            assert!(value > last, "{value} after {last}");
            last = value;
            count += 1;
        }
        assert_eq!((count, last), (6, 2.0));
    }
}
