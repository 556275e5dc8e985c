//! `_meta` of a request: what a stateless request says about itself, and the progress token.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::capabilities::Capabilities;
use super::version::Version;
use crate::jsonrpc::RpcError;

/// The members of `_meta` this server reads.
#[derive(Default, Debug, Deserialize)]
pub struct ModernMeta<'a> {
    /// The version, as it came.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<&'a RawValue>,
    /// The client's name and version.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    pub client_info: Option<&'a RawValue>,
    /// What the client can do.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub client_capabilities: Option<&'a RawValue>,
    /// The least level of log messages wanted with the response.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<&'a RawValue>,
    /// Runs earlier than others if larger. Ours.
    #[serde(borrow, default, rename = "outlast/priority")]
    pub priority: Option<&'a RawValue>,
    /// The caller's name for the call, so that it may be repeated without harm. Ours.
    #[serde(borrow, default, rename = "outlast/idempotencyKey")]
    pub idempotency_key: Option<&'a RawValue>,
    /// The tasks that must have ended before the call runs. Ours.
    #[serde(borrow, default, rename = "outlast/after")]
    pub after: Option<&'a RawValue>,
    /// Not before so many milliseconds after the call. Ours.
    #[serde(borrow, default, rename = "outlast/delayMs")]
    pub delay: Option<&'a RawValue>,
    /// Not before this moment. Ours.
    #[serde(borrow, default, rename = "outlast/runAt")]
    pub run_at: Option<&'a RawValue>,
    /// Labels of the task. Ours.
    #[serde(borrow, default, rename = "outlast/labels")]
    pub labels: Option<&'a RawValue>,
    /// Who else is told over HTTP what becomes of the task. Ours.
    #[serde(borrow, default, rename = "outlast/webhooks")]
    pub webhooks: Option<&'a RawValue>,
    /// The token for progress notifications.
    #[serde(borrow, default, rename = "progressToken")]
    pub progress_token: Option<&'a RawValue>,
    /// When the call may be answered with the id of its task; `null` is kept apart from absent.
    #[serde(
        borrow,
        default,
        rename = "outlast/detachAfterMs",
        deserialize_with = "crate::jsonrpc::present"
    )]
    pub detach_after: Option<&'a RawValue>,
}

impl<'a> ModernMeta<'a> {
    /// Reads `_meta`. Absent is empty.
    ///
    /// # Errors
    /// It is not an object.
    pub fn parse(raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        super::object_or_default(raw)
            .ok_or_else(|| RpcError::invalid_params(r#""_meta" must be an object"#))
    }

    /// The version as text. `None` if it is absent or not a string.
    pub fn version_text(&self) -> Option<Cow<'a, str>> {
        self.version.and_then(crate::jsonrpc::string)
    }

    /// What the client can do.
    ///
    /// # Errors
    /// The request does not say, or not as an object.
    pub fn capabilities(&self, version: Version) -> Result<Capabilities, RpcError> {
        let raw = self.client_capabilities.ok_or_else(|| {
            RpcError::invalid_params(format!(
                r#""_meta" needs {:?}"#,
                super::names::META_CLIENT_CAPABILITIES
            ))
        })?;
        Capabilities::parse(raw, version).ok_or_else(|| {
            RpcError::invalid_params(format!(
                "{:?} must be an object of capabilities",
                super::names::META_CLIENT_CAPABILITIES
            ))
        })
    }
}

/// The progress token, if it is one: a string or an integer.
///
/// # Errors
/// It is something else.
pub fn progress_token<'a>(meta: &ModernMeta<'a>) -> Result<Option<&'a RawValue>, RpcError> {
    match meta.progress_token {
        None => Ok(None),
        Some(token) if crate::jsonrpc::RequestId::from_json(token).is_some() => Ok(Some(token)),
        Some(_) => Err(RpcError::invalid_params(
            r#""progressToken" must be a string or an integer"#,
        )),
    }
}
