//! The parameters of a request as they are put together: members of JSON text, and `_meta` apart.
//!
//! `_meta` is completed by the session just before sending, because what it must say depends on the
//! era, and a request that is repeated after a reconnection may meet another one.

use std::collections::BTreeMap;

use outlast_core::RawJson;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;

/// Parameters.
#[derive(Clone, Default, Debug)]
pub(super) struct Params {
    members: BTreeMap<String, RawJson>,
    meta: BTreeMap<String, RawJson>,
}

impl Params {
    /// With a member more.
    pub(super) fn with<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Self {
        self.members.insert(key.to_owned(), json(value));
        self
    }

    /// With a member more, which is JSON already.
    pub(super) fn with_raw(mut self, key: &str, value: RawJson) -> Self {
        self.members.insert(key.to_owned(), value);
        self
    }

    /// With a member of `_meta` more.
    pub(super) fn with_meta<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Self {
        self.set_meta(key, json(value));
        self
    }

    /// Sets a member of `_meta`.
    pub(super) fn set_meta(&mut self, key: &str, value: RawJson) {
        self.meta.insert(key.to_owned(), value);
    }

    /// The parameters of an object of the caller's. Its `_meta` is taken apart.
    ///
    /// # Errors
    /// It is not an object, or its `_meta` is none.
    pub(super) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, ClientError> {
        let raw = RawJson::of(value).map_err(|error| {
            ClientError::Invalid(format!("parameters without a JSON form: {error}"))
        })?;
        if raw.as_str() == "null" {
            return Ok(Self::default());
        }
        let mut members: BTreeMap<String, RawJson> = raw
            .to()
            .map_err(|_| ClientError::Invalid("parameters must be a JSON object".to_owned()))?;
        let meta = match members.remove("_meta") {
            None => BTreeMap::new(),
            Some(meta) => meta
                .to()
                .map_err(|_| ClientError::Invalid(r#""_meta" must be a JSON object"#.to_owned()))?,
        };
        Ok(Self { members, meta })
    }

    /// The JSON text.
    pub(super) fn into_json(mut self) -> RawJson {
        if !self.meta.is_empty() {
            let meta = json(&self.meta);
            self.members.insert("_meta".to_owned(), meta);
        }
        json(&self.members)
    }
}

/// The JSON of a value of ours.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> RawJson {
    RawJson::of(value).expect("values of the client have a JSON form")
}

/// Reads an object. Serde would read an array into a struct by position; here it is refused.
///
/// # Errors
/// It is none, or does not fit; the text says which `what` it should have been, and why.
pub(super) fn object<T: DeserializeOwned>(raw: &RawJson, what: &str) -> Result<T, String> {
    if !raw.as_str().trim_start().starts_with('{') {
        return Err(format!("not {what}: not a JSON object"));
    }
    raw.to().map_err(|error| format!("not {what}: {error}"))
}

/// The arguments of a call.
///
/// # Errors
/// They have no JSON form, or are no object.
pub(super) fn arguments<T: Serialize + ?Sized>(value: &T) -> Result<RawJson, ClientError> {
    let raw = RawJson::of(value)
        .map_err(|error| ClientError::Invalid(format!("arguments without a JSON form: {error}")))?;
    match raw.as_str() {
        // The unit value: a tool without arguments.
        "null" => Ok(RawJson::empty_object()),
        text if text.trim_start().starts_with('{') => Ok(raw),
        _ => Err(ClientError::Invalid(
            "arguments must be an object with a member for each argument of the tool".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn meta_is_merged() {
        let params = Params::of(&json!({"a": 1, "_meta": {"x": 2}}))
            .unwrap()
            .with_meta("y", "z");
        assert_eq!(
            params.into_json().as_str(),
            r#"{"_meta":{"x":2,"y":"z"},"a":1}"#
        );
        assert!(Params::of(&json!([1])).is_err());
        assert!(Params::of(&json!({"_meta": 1})).is_err());
    }

    #[test]
    fn arguments_are_objects() {
        assert_eq!(arguments(&()).unwrap().as_str(), "{}");
        assert_eq!(arguments(&json!({"n": 1})).unwrap().as_str(), r#"{"n":1}"#);
        assert!(arguments(&[1, 2]).is_err());
        assert!(arguments("text").is_err());
    }
}
