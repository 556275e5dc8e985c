//! When a call that still runs is answered with the id of its task.
//!
//! Most clients give up after about a minute and throw a late result away. A tool that may be a task
//! and whose caller cannot have one is therefore answered in time with an ordinary result that says
//! where the real one will be. The caller's word comes first, then the tool's, then the server's; a
//! tool whose output schema such an answer would not fit does not detach.

use std::time::Duration;

use outlast_engine::{DetachAfter, Tool};
use serde_json::value::RawValue;

use crate::jsonrpc::RpcError;
use crate::protocol::names::META_DETACH_AFTER;
use crate::server::Config;

/// When calls of this tool detach whose callers say nothing themselves.
pub(crate) fn usual(tool: &Tool, config: &Config) -> DetachAfter {
    if tool.may_detach() {
        tool.serving.detach_after.unwrap_or(config.detach_after)
    } else {
        DetachAfter::Never
    }
}

/// When a call detaches; `asked` is what its `_meta` says, if anything.
///
/// # Errors
/// What it says is no time.
pub(crate) fn of_call(
    tool: &Tool,
    config: &Config,
    asked: Option<&RawValue>,
) -> Result<DetachAfter, RpcError> {
    let Some(asked) = asked else {
        return Ok(usual(tool, config));
    };
    let asked = read(asked).ok_or_else(|| {
        RpcError::invalid_params(format!(
            "{META_DETACH_AFTER:?} must be a number of milliseconds, 0 or more, or null for never"
        ))
    })?;
    Ok(if tool.may_detach() {
        asked
    } else {
        DetachAfter::Never
    })
}

fn read(asked: &RawValue) -> Option<DetachAfter> {
    if asked.get() == "null" {
        return Some(DetachAfter::Never);
    }
    let millis: f64 = serde_json::from_str(asked.get()).ok()?;
    // More than a duration can hold is never.
    (millis >= 0.0).then(|| {
        Duration::try_from_secs_f64(millis / 1000.0).map_or(DetachAfter::Never, DetachAfter::After)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_may_say() {
        let read = |json: &str| read(serde_json::from_str(json).unwrap());
        let after = |ms| Some(DetachAfter::After(Duration::from_millis(ms)));
        assert_eq!(read("null"), Some(DetachAfter::Never));
        assert_eq!(read("0"), after(0));
        assert_eq!(read("1500"), after(1500));
        assert_eq!(read("1e300"), Some(DetachAfter::Never));
        for wrong in ["-1", "\"5s\"", "true", "[]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
