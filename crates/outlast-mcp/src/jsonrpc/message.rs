//! A message as it came: checked to be JSON-RPC, borrowed, not parsed further.
//!
//! Whatever cannot be read still gives back the id it can be answered to, if that much is readable.

use std::borrow::Cow;

use outlast_core::RawJson;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::RpcError;
use super::id::{LONGEST, is_id};

/// How deep arrays and objects may be nested. Deeper messages are refused before anything looks in.
pub const MAX_DEPTH: usize = 64;

/// How many messages a batch may have.
const MAX_BATCH: usize = 100;

/// One message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants a response.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Is one.
    Response(Response<'a>),
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// The id, a string or an integer.
    pub id: &'a RawValue,
    /// The method.
    pub method: Cow<'a, str>,
    /// The parameters, if it has any.
    pub params: Option<&'a RawValue>,
}

/// A notification.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The method.
    pub method: Cow<'a, str>,
    /// The parameters, if it has any.
    pub params: Option<&'a RawValue>,
}

/// A response to a request of ours.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id of the request. `None` if the other side could not read it.
    pub id: Option<&'a RawValue>,
    /// The result, or the error.
    pub result: Result<&'a RawValue, RpcError>,
}

impl Response<'_> {
    /// The result, to keep.
    ///
    /// # Errors
    /// The response is an error, or its result is nothing that could be read (see [`RawJson`]).
    pub(crate) fn owned(&self) -> Result<RawJson, RpcError> {
        match &self.result {
            Ok(result) => owned("result", result),
            Err(error) => Err(error.clone()),
        }
    }
}

/// The value of `name`, to keep.
///
/// # Errors
/// It is nothing that could be read later (see [`RawJson`]).
pub(crate) fn owned(name: &str, raw: &RawValue) -> Result<RawJson, RpcError> {
    RawJson::try_from(raw.to_owned())
        .map_err(|why| RpcError::invalid_params(format!("{name:?} cannot be read: {why}")))
}

/// The bytes are no message.
#[derive(Debug)]
pub struct Malformed<'a> {
    /// The id to answer to, if it is readable.
    pub id: Option<&'a RawValue>,
    /// What is wrong.
    pub error: RpcError,
}

impl Malformed<'_> {
    fn anonymous(error: RpcError) -> Self {
        Self { id: None, error }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// The messages of a batch, unread. `None` if the bytes are no batch: not an array, empty, too long,
/// nested too deeply, or not JSON.
pub(crate) fn batch(bytes: &[u8]) -> Option<Vec<&RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.trim_start().starts_with('[') || too_deep(bytes) {
        return None;
    }
    let messages: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    (1..=MAX_BATCH)
        .contains(&messages.len())
        .then_some(messages)
}

/// The parameters of a message that has been read before, if it has any.
pub(crate) fn params_of(message: &str) -> Option<&RawValue> {
    let envelope: Envelope<'_> = serde_json::from_str(message).ok()?;
    envelope.params
}

/// Keeps `null` apart from an absent member.
pub(crate) fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The bytes are not UTF-8, not one JSON value, an array (batches were part of 2025-03-26
    /// alone and are refused), nested deeper than [`MAX_DEPTH`], or not a JSON-RPC message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed<'a>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Malformed::anonymous(RpcError::new(
                super::code::PARSE_ERROR,
                format!("the message is not UTF-8 (byte {})", error.valid_up_to()),
            ))
        })?;
        if too_deep(bytes) {
            return Err(Malformed {
                id: outer_id(text),
                error: RpcError::invalid_request(format!(
                    "the message is nested deeper than {MAX_DEPTH} levels"
                )),
            });
        }
        if text.trim_start().starts_with('[') {
            return Err(Malformed::anonymous(RpcError::invalid_request(
                "batches belong to 2025-03-26 alone; send each message on its own",
            )));
        }
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| {
            Malformed::anonymous(if error.is_data() {
                RpcError::invalid_request(format!("not a JSON-RPC message: {error}"))
            } else {
                RpcError::new(super::code::PARSE_ERROR, format!("not JSON: {error}"))
            })
        })?;
        let id = envelope.id.filter(|id| is_id(id.get()));
        envelope.classify().map_err(|error| Malformed { id, error })
    }
}

impl<'a> Envelope<'a> {
    fn classify(self) -> Result<Message<'a>, RpcError> {
        if self
            .jsonrpc
            .is_none_or(|version| version.get() != r#""2.0""#)
        {
            return Err(RpcError::invalid_request(r#""jsonrpc" must be "2.0""#));
        }
        if let Some(id) = self.id
            && !is_id(id.get())
            && (self.method.is_some() || id.get() != "null")
        {
            return Err(RpcError::invalid_request(format!(
                "\"id\" must be a string or an integer, of at most {LONGEST} bytes"
            )));
        }
        if let Some(method) = self.method {
            let method = string(method)
                .ok_or_else(|| RpcError::invalid_request(r#""method" must be a string"#))?;
            return Ok(match self.id {
                Some(id) => Message::Request(Request {
                    id,
                    method,
                    params: self.params,
                }),
                None => Message::Notification(Notification {
                    method,
                    params: self.params,
                }),
            });
        }
        let id = self.id.filter(|id| id.get() != "null");
        match (self.result, self.error) {
            (Some(result), None) if id.is_some() => Ok(Message::Response(Response {
                id,
                result: Ok(result),
            })),
            (None, Some(error)) => {
                let error = serde_json::from_str(error.get()).map_err(|_| {
                    RpcError::invalid_request(
                        r#""error" must have an integer "code" and a "message""#,
                    )
                })?;
                Ok(Message::Response(Response {
                    id,
                    result: Err(error),
                }))
            }
            _ => Err(RpcError::invalid_request(
                r#"a message needs a "method", or an "id" with a "result" or an "error""#,
            )),
        }
    }
}

/// The string a JSON value stands for; borrowed unless it has escapes.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The id of a message of which nothing else is to be read: its beginning may be all there is, and it may be
/// nested as deeply as it likes. Whoever waits for the answer knows by it which request was refused.
pub(crate) fn outer_id(text: &str) -> Option<&RawValue> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = end_of_string(bytes, at)?;
                let value = text[end..].trim_start().strip_prefix(':');
                if depth == 1 && &text[at..end] == r#""id""# && value.is_some() {
                    let value = value?.trim_start();
                    let length = if value.starts_with('"') {
                        end_of_string(value.as_bytes(), 0)?
                    } else {
                        // What goes on to the end may have been cut off there.
                        value.find(|c: char| c != '-' && !c.is_ascii_digit())?
                    };
                    let value = &value[..length];
                    return is_id(value).then(|| serde_json::from_str(value).ok())?;
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the quotation mark that ends the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Whether brackets are nested deeper than allowed. Brackets are first counted, which is nearly
/// free, and followed only where there are enough of them to matter.
pub(crate) fn too_deep(bytes: &[u8]) -> bool {
    // Counted in single bytes, which looks at many of them with one instruction.
    let opens = |byte: &u8| u8::from((*byte == b'{') | (*byte == b'['));
    let opened = |part: &[u8]| usize::from(part.iter().map(opens).sum::<u8>());
    let opening: usize = bytes.chunks(usize::from(u8::MAX)).map(opened).sum();
    if opening <= MAX_DEPTH {
        return false;
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::code;
    use super::*;

    fn error(text: &str) -> (Option<&str>, i64) {
        let malformed = Message::parse(text.as_bytes()).unwrap_err();
        (malformed.id.map(RawValue::get), malformed.error.code)
    }

    #[test]
    fn requests_notifications_and_responses_are_told_apart() {
        let text = br#"{"jsonrpc":"2.0","id":7,"method":"a\/b","params":{"x":null}}"#;
        let Message::Request(request) = Message::parse(text).unwrap() else {
            panic!("a request")
        };
        assert_eq!((request.id.get(), &*request.method), ("7", "a/b"));
        assert_eq!(request.params.unwrap().get(), r#"{"x":null}"#);
        assert!(matches!(
            Message::parse(br#"{"jsonrpc":"2.0","method":"m"}"#).unwrap(),
            Message::Notification(_)
        ));
        let Message::Response(response) =
            Message::parse(br#"{"jsonrpc":"2.0","id":"q","error":{"code":-1,"message":"no"}}"#)
                .unwrap()
        else {
            panic!("a response")
        };
        assert_eq!(response.result.unwrap_err().code, -1);
    }

    #[test]
    fn the_readable_id_survives() {
        assert_eq!(
            error(r#"{"id":3,"method":"m"}"#),
            (Some("3"), code::INVALID_REQUEST)
        );
        assert_eq!(
            error(r#"{"jsonrpc":"2.0","id":3,"method":5}"#),
            (Some("3"), code::INVALID_REQUEST)
        );
        assert_eq!(
            error(r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#),
            (None, code::INVALID_REQUEST)
        );
        assert_eq!(
            error(r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#),
            (None, code::INVALID_REQUEST)
        );
        assert_eq!(
            error(r#"{"jsonrpc":"2.0","id":4}"#),
            (Some("4"), code::INVALID_REQUEST)
        );
    }

    #[test]
    fn the_id_of_what_is_too_deep_or_cut_off_is_found() {
        let deep = format!("{}1{}", "[".repeat(9000), "]".repeat(9000));
        for (id, found) in [
            ("7", Some("7")),
            (r#""a\"b""#, Some(r#""a\"b""#)),
            ("{}", None),
        ] {
            for text in [
                format!(
                    r#"{{"jsonrpc":"2.0", "id" : {id} ,"method":"id","params":{{"id":3,"a":{deep}}}}}"#
                ),
                format!(
                    r#"{{"params":{{"id":3,"a":{deep},"b":"\"id\":4"}},"method":"m","id":{id}}}"#
                ),
            ] {
                assert_eq!(
                    error(&text),
                    (found, code::INVALID_REQUEST),
                    "{}",
                    &text[..60]
                );
            }
        }
        let cut = |text| outer_id(text).map(RawValue::get);
        assert_eq!(
            cut(r#"{"jsonrpc":"2.0","id":"big","method":"tools/ca"#),
            Some(r#""big""#)
        );
        for text in [
            r#"{"id":12"#,
            r#"{"id":"1"#,
            r#"{"id""#,
            r#"["id":1,"#,
            r#"{"a":{"id":1},"#,
            "",
        ] {
            let found = cut(text);
            assert!(
                found.is_none() || text.starts_with('['),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_json() {
        assert_eq!(error("{").1, code::PARSE_ERROR);
        assert_eq!(error("").1, code::PARSE_ERROR);
        assert_eq!(error(r#"{"jsonrpc":"2.0"} x"#).1, code::PARSE_ERROR);
        assert_eq!(error("[]").1, code::INVALID_REQUEST);
        assert_eq!(error(r#""text""#).1, code::INVALID_REQUEST);
        assert_eq!(
            Message::parse(b"\xff").unwrap_err().error.code,
            code::PARSE_ERROR
        );
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |depth: usize| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"m","params":{}{}}}"#,
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(Message::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(error(&nested(MAX_DEPTH + 1)).1, code::INVALID_REQUEST);
        let quoted = format!(
            r#"{{"jsonrpc":"2.0","method":"m","params":["\"{}"]}}"#,
            "[".repeat(99)
        );
        assert!(Message::parse(quoted.as_bytes()).is_ok());
        assert_eq!(error(&"[".repeat(1_000_000)).1, code::INVALID_REQUEST);
    }
}
