//! What a synchronous call says before its result: progress, signs of life, log messages.
//!
//! Everything goes to the call's own stream, in the older era also what a call asks once it has been
//! written down as a task. Progress values always increase, also those that only
//! say that the call is alive, because clients count them as life and the protocol wants them to.

use std::sync::{Arc, Mutex};

use outlast_core::{Level, LogLine, Progress, RawJson, TaskId};
use outlast_engine::Observer;

use crate::context::Context;
use crate::protocol::Version;
use crate::server::Inner;
use crate::session::{Attached, Outlet, Session, lasting, next_value, progress_notification};
use crate::wire::Object;

pub(super) struct Report {
    outlet: Outlet,
    token: Option<RawJson>,
    level: Option<Level>,
    version: Version,
    told: Mutex<Told>,
    /// The id of the request.
    request: Box<str>,
    /// Who can be asked on the stream.
    caller: Option<(Arc<Inner>, Arc<Session>)>,
    attached: Mutex<Option<Attached>>,
}

#[derive(Default)]
struct Told {
    value: Option<f64>,
    progress: Progress,
}

impl Report {
    pub(super) fn new(cx: &Context<'_>, token: Option<RawJson>, level: Option<Level>) -> Self {
        let caller = cx
            .session
            .map(|session| (Arc::clone(cx.server), Arc::clone(session)));
        Self {
            caller,
            request: cx.id.get().into(),
            ..Self::to(cx.outlet.clone(), token, level, cx.version)
        }
    }

    fn to(outlet: Outlet, token: Option<RawJson>, level: Option<Level>, version: Version) -> Self {
        Self {
            outlet,
            token,
            level,
            version,
            told: Mutex::default(),
            request: Box::default(),
            caller: None,
            attached: Mutex::default(),
        }
    }

    /// The caller waits no more.
    pub(super) fn end(&self) {
        self.attached
            .lock()
            .expect("nothing panics under this lock")
            .take();
    }

    /// Says that the call is alive: as progress if the client wants any, else by making the response
    /// a stream, which carries signs of life of its own.
    pub(super) fn alive(&self) {
        let last = self
            .told
            .lock()
            .expect("nothing panics under this lock")
            .progress
            .clone();
        if self.token.is_some() {
            self.tell(&last)
        } else {
            self.outlet.open()
        }
    }

    fn tell(&self, progress: &Progress) {
        let Some(token) = &self.token else { return };
        let mut told = self.told.lock().expect("nothing panics under this lock");
        let last = told.value.unwrap_or(f64::NEG_INFINITY);
        let value = next_value(last, progress.done, progress.total);
        told.value = Some(value);
        told.progress = progress.clone();
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
        self.tell(progress);
    }

    fn stored(&self, task: TaskId) {
        let Some((server, session)) = &self.caller else {
            return;
        };
        if let Outlet::Exchange(exchange) = &self.outlet {
            exchange.rename(lasting::name(&server.sealer, task, &self.request));
        }
        let attached = server.couriers.attach(server, session, task, &self.outlet);
        *self
            .attached
            .lock()
            .expect("nothing panics under this lock") = Some(attached);
    }

    fn log(&self, line: &LogLine) {
        if self.level.is_some_and(|least| line.level >= least) {
            self.outlet.send(log_message(line));
        }
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
