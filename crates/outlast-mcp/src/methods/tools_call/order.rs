//! What a call says about its place among others, in `_meta`: `outlast/priority`, a number, and
//! `outlast/idempotencyKey`, a string.

use outlast_engine::{NewCall, TaskSupport, check_priority};

use crate::context::Context;
use crate::jsonrpc::{RpcError, string};

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 256;

/// Reads both into the call.
///
/// # Errors
/// A value is of another type or out of range; or the tool is never a task, so that nothing of it could
/// be found again.
pub(super) fn read(cx: &Context<'_>, new: &mut NewCall) -> Result<(), RpcError> {
    if let Some(raw) = cx.meta.priority {
        let number: i64 = raw.get().parse().map_err(|_| {
            RpcError::invalid_params(format!(
                r#""outlast/priority" must be a whole number, and {} is none"#,
                raw.get()
            ))
        })?;
        new.priority = check_priority(number).map_err(RpcError::invalid_params)?;
    }
    if let Some(raw) = cx.meta.idempotency_key {
        let key = string(raw).filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
        let key = key.ok_or_else(|| {
            RpcError::invalid_params(format!(
                r#""outlast/idempotencyKey" must be a string of 1 to {LONGEST_KEY} bytes"#
            ))
        })?;
        if new.tool.task == TaskSupport::Forbidden {
            return Err(RpcError::invalid_params(format!(
                "the tool {:?} is never a task, so a repeated call cannot be recognized; leave \
                 \"outlast/idempotencyKey\" out",
                new.tool.name
            )));
        }
        new.key = Some(key.into_owned());
    }
    Ok(())
}
