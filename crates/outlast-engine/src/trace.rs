//! Trace context (W3C): one trace from the caller through the queue into the attempts and their steps.
//!
//! The caller's `traceparent` is part of the call's `_meta` and is stored with the task as it came (SEP-414), so
//! it outlives every process on the way. Creation and each attempt are spans below it, wherever they happen,
//! and steps are spans of their attempt. A task whose caller said nothing has a trace all the same: its id is
//! the task's.
//!
//! Here are spans of `tracing` and nothing of a tracing system: whoever exports them says once how a span gets
//! a parent from outside ([`on_span`]).

use std::sync::OnceLock;

use outlast_core::{RawJson, Task, TaskSpec};
use serde_json::{Value, json};
use tracing::Span;

use crate::run::Run;

/// The member of `_meta` with the caller's trace context.
pub const TRACEPARENT: &str = "traceparent";

type Hook = fn(&Span, &str);

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Says how a span gets its parent from a `traceparent`. `false` if somebody has said so before: then that
/// holds.
pub fn on_span(hook: Hook) -> bool {
    HOOK.set(hook).is_ok()
}

/// Whether a text is a `traceparent` that can be gone on with (W3C Trace Context, level 1, version 00).
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    let hex = |part: &str, length: usize| {
        let digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        part.len() == length && part.bytes().all(digit)
    };
    let named = |part: &str| part.bytes().any(|c| c != b'0');
    version == "00"
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && named(trace)
        && named(parent)
}

/// The `_meta` of a call with the trace context of a transport's header, unless it has one of its own or the
/// header's is none.
pub fn meta_with(meta: Option<RawJson>, header: Option<&str>) -> Option<RawJson> {
    let Some(header) = header.filter(|text| is_traceparent(text)) else {
        return meta;
    };
    let mut value = meta.as_ref().map_or_else(|| json!({}), RawJson::to_value);
    match value.as_object_mut() {
        Some(members) if !members.contains_key(TRACEPARENT) => {
            members.insert(TRACEPARENT.into(), header.into());
            Some(value.into())
        }
        _ => meta,
    }
}

/// The trace context of a task: its caller's, or one that follows from its id.
pub fn traceparent(spec: &TaskSpec) -> String {
    let said = spec.request_meta.as_ref().and_then(|meta| {
        // Looked at only where it may be: the text is short, and the tree is not.
        if !meta.as_str().contains(TRACEPARENT) {
            return None;
        }
        match meta.to_value().get(TRACEPARENT) {
            Some(Value::String(text)) if is_traceparent(text) => Some(text.clone()),
            _ => None,
        }
    });
    said.unwrap_or_else(|| {
        let hex =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        let id = spec.id.as_bytes();
        // A random id has bits that are never 0, in both of its halves.
        format!("00-{}-{}-01", hex(id), hex(&id[8..]))
    })
}

/// A span below the task's trace context.
fn below(span: Span, spec: &TaskSpec) -> Span {
    if let Some(hook) = HOOK.get()
        && !span.is_disabled()
    {
        hook(&span, &traceparent(spec));
    }
    span
}

/// The span of a task's creation.
pub(crate) fn create(spec: &TaskSpec) -> Span {
    let span = tracing::info_span!("create", task = %spec.id, tool = spec.tool);
    below(span, spec)
}

/// The span of one entry of an attempt.
pub(crate) fn attempt(task: &Task) -> Span {
    let attempt = task.state.attempt;
    let span = tracing::info_span!("attempt", task = %task.id(), tool = task.spec.tool, attempt);
    below(span, &task.spec)
}

/// The span of a synchronous call, which nobody claims: an attempt like any other. None where no traces are
/// kept, for such a call may be over in less time than a span takes.
pub(crate) fn call(run: &Run) -> Span {
    if HOOK.get().is_none() {
        return Span::none();
    }
    let (id, tool, attempt) = (run.spec.id, &run.spec.tool, run.attempt);
    let span = tracing::info_span!("attempt", task = %id, tool, attempt);
    below(span, &run.spec)
}

/// The span of the work of a step, below that of its attempt.
pub(crate) fn step(name: &str) -> Span {
    tracing::info_span!("step", step = name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(meta: &str) -> TaskSpec {
        TaskSpec {
            request_meta: Some(RawJson::parse(meta).unwrap()),
            ..TaskSpec::new("t", RawJson::empty_object())
        }
    }

    #[test]
    fn the_callers_context_is_gone_on_with() {
        let said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let meta = format!(r#"{{"traceparent": "{said}", "a": 1}}"#);
        assert_eq!(traceparent(&with(&meta)), said);
    }

    #[test]
    fn what_stands_in_the_meta_wins_over_the_header() {
        let said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let meta = |text: &str| Some(RawJson::parse(text).unwrap());
        let told = meta_with(None, Some(said)).unwrap().to_value();
        assert_eq!(told, json!({"traceparent": said}));
        let own = meta(r#"{"traceparent": "mine"}"#);
        assert_eq!(meta_with(own.clone(), Some(said)), own);
        assert_eq!(meta_with(None, Some("no")), None);
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
            let spec = with(&format!(r#"{{"traceparent": "{wrong}"}}"#));
            let own = traceparent(&spec);
            assert!(is_traceparent(&own), "{own}");
            let id = spec.id.to_string().replace('-', "");
            assert_eq!(&own[3..35], id);
        }
        assert!(is_traceparent(&traceparent(&with("{}"))));
    }
}
