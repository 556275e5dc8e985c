//! The dots that are shown in the place of a secret are no secret: whoever copies the arguments of a task into
//! a new call would start it with dots for a password, and learn of it from whatever the password was for.
//!
//! Decided where a tool joins its set, so that no way to call it (MCP, REST, a child, a schedule, an undo) can
//! forget to ask.

use std::sync::Arc;

use outlast_core::{RawJson, ToolResult};

use super::{DOTS, Fields};
use crate::BoxFuture;
use crate::context::Cx;
use crate::error::Result;
use crate::tool::Handler;

/// The handler of a tool with secret arguments.
pub(crate) struct Undotted {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) fields: Fields,
}

impl Handler for Undotted {
    fn check(&self, arguments: &RawJson) -> std::result::Result<(), String> {
        self.handler.check(arguments)?;
        // Most arguments have no dots in them, however they are spelt.
        let text = arguments.as_str();
        if !text.contains('•') && !text.contains("\\u2022") {
            return Ok(());
        }
        let secrets = self.fields.take(&mut arguments.to_value(), "");
        match secrets.iter().find(|(_, secret)| *secret == DOTS) {
            None => Ok(()),
            Some((at, _)) => Err(format!(
                "the argument {at} is \"{DOTS}\", which is only shown in the place of a secret: give the \
                 secret itself"
            )),
        }
    }

    fn check_meta(&self, meta: Option<&RawJson>) -> std::result::Result<(), String> {
        self.handler.check_meta(meta)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        self.handler.call(arguments, cx)
    }
}
