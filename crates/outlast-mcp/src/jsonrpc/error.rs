//! Protocol errors: one table of codes, one type.
//!
//! The message is a sentence that says what to do. The codes -32020 to -32022 are those of
//! 2026-07-28; the rest is JSON-RPC's own.

use std::borrow::Cow;
use std::fmt;

use outlast_core::RawJson;
use serde::{Deserialize, Serialize};

/// The codes in use.
pub mod code {
    /// The bytes are not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The JSON is not a message this endpoint takes.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method, or it is not offered here.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The method is known and its parameters are not right.
    pub const INVALID_PARAMS: i64 = -32602;
    /// It is not the caller's fault.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// Ours: too many tasks wait, or too much is open or under way; `data.retryAfter` says in how many
    /// seconds to call again.
    pub const FULL: i64 = -32000;
    /// Up to 2025-11-25: there is no such resource.
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// 2025-11-25: the person has to visit a URL first; `data.elicitations` says which.
    pub const URL_ELICITATION_REQUIRED: i64 = -32042;
    /// 2026-07-28: a header is missing or says something else than the body.
    pub const HEADER_MISMATCH: i64 = -32020;
    /// 2026-07-28: the request did not declare a capability it needs.
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// 2026-07-28: the request's protocol version is not spoken here.
    pub const UNSUPPORTED_VERSION: i64 = -32022;
}

/// A JSON-RPC error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RpcError {
    /// See [`code`].
    pub code: i64,
    /// One sentence.
    pub message: Cow<'static, str>,
    /// What a program needs beyond the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// [`code::INVALID_REQUEST`].
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    /// [`code::INVALID_PARAMS`].
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// [`code::METHOD_NOT_FOUND`].
    pub fn method_not_found(method: &str) -> Self {
        Self::new(
            code::METHOD_NOT_FOUND,
            format!("method {method:?} not found"),
        )
    }

    /// [`code::INTERNAL_ERROR`].
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::INTERNAL_ERROR, message)
    }

    /// [`code::HEADER_MISMATCH`].
    pub fn header_mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code::HEADER_MISMATCH, message)
    }

    /// The same error with data.
    #[must_use]
    pub fn with_data(self, data: RawJson) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}
