//! The result of a call, and the error of one that has none.

use outlast_core::status::Era;
use outlast_core::{Failure, FailureReason, Outcome, ToolResult};

use super::content;
use super::object::{Object, merge_meta};
use crate::jsonrpc::{begin_response, code, end_response};
use crate::protocol::Version;

/// A CallToolResult as the response to a request of this version. `ours` is added to its `_meta`.
pub(crate) fn tool_result(
    out: &mut Vec<u8>,
    result: &ToolResult,
    version: Version,
    ours: &[(&str, &str)],
) {
    let mut object = Object::new(out);
    if version.era() == Era::Modern {
        object.raw("resultType", "\"complete\"");
    }
    members(&mut object, result, version, ours);
}

/// The response to a call that ended like this.
///
/// A cancelled call has no result; what stands in its place reads as one everywhere, because the
/// older era's text asks for "the final result" and its clients parse nothing else.
pub(crate) fn response(
    id: &str,
    outcome: &Outcome,
    version: Version,
    ours: &[(&str, &str)],
) -> Vec<u8> {
    let result = |result: &ToolResult| {
        let structured = result
            .structured
            .as_ref()
            .map_or(0, |json| json.as_str().len());
        let mut out = begin_response(id, result.content.as_str().len() + structured + 256);
        tool_result(&mut out, result, version, ours);
        end_response(&mut out);
        out
    };
    match outcome {
        Outcome::Completed(completed) => result(completed),
        Outcome::Cancelled { reason } => result(&cancelled(reason.as_deref())),
        Outcome::Failed(failed) => {
            let mut out = Vec::with_capacity(256);
            let mut message = Object::new(&mut out);
            message.raw("jsonrpc", r#""2.0""#).raw("id", id);
            failure(message.buffer("error"), failed, version);
            drop(message);
            out
        }
    }
}

/// The members of the CallToolResult that stands for an outcome that is no error of the protocol.
pub(crate) fn outcome_members(object: &mut Object<'_>, outcome: &Outcome) {
    match outcome {
        Outcome::Completed(result) => members(object, result, Version::LATEST, &[]),
        Outcome::Cancelled { reason } => {
            members(object, &cancelled(reason.as_deref()), Version::LATEST, &[])
        }
        Outcome::Failed(_) => {}
    }
}

/// What stands in the place of the result of a cancelled call.
fn cancelled(reason: Option<&str>) -> ToolResult {
    ToolResult::error(reason.unwrap_or("Task was cancelled"))
}

/// The CallToolResult inside a finished 2026-07-28 task. It says that it is complete, as the schema
/// of that type demands wherever it stands: the official tasks client reads no other.
pub(super) fn inner_result(out: &mut Vec<u8>, result: &ToolResult) {
    tool_result(out, result, Version::V2026_07_28, &[]);
}

fn members(object: &mut Object<'_>, result: &ToolResult, version: Version, ours: &[(&str, &str)]) {
    object.raw("content", &content::blocks(&result.content, version));
    let structured = result.structured.as_ref();
    if let Some(content) = structured.filter(|_| version.has_structured_content()) {
        object.raw("structuredContent", content.as_str());
    }
    object.value("isError", result.is_error);
    merge_meta(object, result.meta.as_ref().map(|meta| meta.as_str()), ours);
}

/// The code that a failure has in this version. That a URL has to be visited first is a code of
/// 2025-11-25 alone, which later versions must not use; its message tells people the same.
pub(crate) fn code_of(failure: &Failure, version: Version) -> i64 {
    if failure.code == code::URL_ELICITATION_REQUIRED && !version.has_url_completion() {
        return code::INTERNAL_ERROR;
    }
    failure.code
}

/// A JSON-RPC error object. `data` is the handler's own; a failure of ours says its reason in it.
pub(crate) fn failure(out: &mut Vec<u8>, failure: &Failure, version: Version) {
    let mut object = Object::new(out);
    object
        .value("code", code_of(failure, version))
        .text("message", &failure.message);
    match &failure.data {
        Some(data) => {
            object.raw("data", data.as_str());
        }
        None if failure.reason != FailureReason::Error => {
            let reason = serde_json::to_string(&failure.reason).expect("a word has a JSON form");
            object.object("data").raw("reason", &reason);
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::RawJson;

    use super::*;

    fn written(result: &ToolResult, version: Version) -> String {
        let mut out = Vec::new();
        tool_result(&mut out, result, version, &[]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_gets_the_members_it_knows() {
        let result = ToolResult {
            content: RawJson::empty_array(),
            structured: Some(RawJson::parse(r#"{"a":1}"#).unwrap()),
            is_error: false,
            meta: None,
        };
        assert_eq!(
            written(&result, Version::V2025_03_26),
            r#"{"content":[],"isError":false}"#
        );
        assert_eq!(
            written(&result, Version::V2025_11_25),
            r#"{"content":[],"structuredContent":{"a":1},"isError":false}"#
        );
        assert_eq!(
            written(&result, Version::V2026_07_28),
            r#"{"resultType":"complete","content":[],"structuredContent":{"a":1},"isError":false}"#
        );
    }

    #[test]
    fn a_failure_of_ours_names_its_reason() {
        let mut out = Vec::new();
        failure(
            &mut out,
            &Failure::internal(FailureReason::NoWorker, "nobody"),
            Version::LATEST,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"code":-32603,"message":"nobody","data":{"reason":"no_worker"}}"#
        );
    }

    #[test]
    fn the_code_for_a_url_is_said_where_it_exists() {
        let mut failure = Failure::internal(FailureReason::Error, "go there first");
        failure.code = code::URL_ELICITATION_REQUIRED;
        assert_eq!(code_of(&failure, Version::V2025_11_25), -32042);
        for version in [Version::V2025_06_18, Version::V2026_07_28] {
            assert_eq!(code_of(&failure, version), -32603);
        }
    }
}
