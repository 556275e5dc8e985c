//! The members of `params` that concern every method, and the rule for reading the rest.
//!
//! Parameters are objects. Serde would read an array into a struct by position; here it is refused.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::RpcError;

/// What is read from the parameters of every request, in one pass: the metadata, whatever the request
/// is about, which the newer era's headers repeat, and the members of a call, the request that must be
/// fast.
#[derive(Default, Debug, Deserialize)]
pub struct Params<'a> {
    /// `_meta`.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Option<&'a RawValue>,
    /// The tool or prompt.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// The resource.
    #[serde(borrow, default)]
    pub uri: Option<&'a RawValue>,
    /// The task.
    #[serde(borrow, default, rename = "taskId")]
    pub task_id: Option<&'a RawValue>,
    /// What the tool or prompt is called with; `null` is kept apart from absent.
    #[serde(borrow, default, deserialize_with = "crate::jsonrpc::present")]
    pub arguments: Option<&'a RawValue>,
    /// The wish for a task, of the older era; `null` is kept apart from absent.
    #[serde(borrow, default, deserialize_with = "crate::jsonrpc::present")]
    pub task: Option<&'a RawValue>,
    /// Answers to what an earlier request was answered with, of the newer era.
    #[serde(borrow, default, rename = "inputResponses")]
    pub input_responses: Option<&'a RawValue>,
    /// What that answer gave the client to keep.
    #[serde(borrow, default, rename = "requestState")]
    pub request_state: Option<&'a RawValue>,
    #[serde(skip)]
    raw: Option<&'a RawValue>,
    /// The message, where it was read together with these.
    #[serde(skip)]
    pub(super) message: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// They are there and not an object, or a member stands twice.
    pub fn parse(raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let Some(raw) = raw else {
            return Ok(Self::default());
        };
        let mut params: Self = read(raw)?;
        params.raw = Some(raw);
        Ok(params)
    }

    /// All of it, for the method to read what is its own.
    pub(super) fn raw(&self) -> Option<&'a RawValue> {
        self.raw
            .or_else(|| self.message.and_then(crate::jsonrpc::params_of))
    }

    /// Reads the members of one method.
    ///
    /// # Errors
    /// A member is missing or of the wrong type; the message names it.
    pub fn read<T: Deserialize<'a>>(&self) -> Result<T, RpcError> {
        match self.raw() {
            Some(raw) => read(raw),
            None => serde_json::from_str("{}").map_err(invalid),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, RpcError> {
    if !raw.get().starts_with('{') {
        return Err(RpcError::invalid_params(r#""params" must be an object"#));
    }
    serde_json::from_str(raw.get()).map_err(invalid)
}

fn invalid(error: serde_json::Error) -> RpcError {
    RpcError::invalid_params(format!("invalid params: {error}"))
}

/// The object a JSON value stands for. `None` if it is none or does not fit.
pub(crate) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    if !raw.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(raw.get()).ok()
}

/// As [`object`]; absent is the default.
pub(crate) fn object_or_default<'a, T: Deserialize<'a> + Default>(
    raw: Option<&'a RawValue>,
) -> Option<T> {
    raw.map_or_else(|| Some(T::default()), object)
}
