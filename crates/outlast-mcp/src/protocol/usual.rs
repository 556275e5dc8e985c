//! The usual request, read in one pass.
//!
//! A message is read in layers: the envelope, its parameters, their metadata. Each layer goes over all the
//! bytes of those inside it once more. Nearly every request is a plain one, and for it the first two layers
//! are one here. Whatever is not plain in the least (an error, a null, an array for an object, a member that stands
//! twice) is none of this module's business: it gives nothing back, and the layers say what is wrong.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

use super::params::Params;
use crate::jsonrpc::{self, Request};

#[derive(serde::Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    jsonrpc: &'a RawValue,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    method: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "object")]
    params: Params<'a>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A request with its parameters, as [`jsonrpc::Message::parse`] and [`Params::parse`] would read them.
/// `None` says nothing: the message is to be read by those.
pub(crate) fn request(bytes: &[u8]) -> Option<(Request<'_>, Params<'_>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    if jsonrpc::too_deep(bytes) {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let plain: Plain<'_> = object(&mut reader).ok()?;
    reader.end().ok()?;
    if plain.jsonrpc.get() != r#""2.0""#
        || !jsonrpc::is_id(plain.id.get())
        || plain.result.is_some()
        || plain.error.is_some()
    {
        return None;
    }
    let mut params = plain.params;
    params.message = Some(text);
    let request = Request {
        id: plain.id,
        method: jsonrpc::string(plain.method)?,
        // They are read already; whoever wants the rest of them asks `Params`.
        params: None,
    };
    Some((request, params))
}

/// Reads an object and nothing else: serde would read an array into a struct by position.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Object(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::Message;

    const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools\/call","params":{"name":"add","arguments":{"a":[1,{"b":"\""}]},"_meta":{"progressToken":"x"},"other":-1.5e3}}"#;

    /// What a message means, if it is a request whose parameters can be read.
    fn in_layers(bytes: &[u8]) -> Option<String> {
        let Ok(Message::Request(request)) = Message::parse(bytes) else {
            return None;
        };
        let params = Params::parse(request.params).ok()?;
        Some(told(&request, &params))
    }

    fn told(request: &Request<'_>, params: &Params<'_>) -> String {
        let all: serde_json::Result<serde_json::Value> =
            serde_json::from_str(params.raw().map_or("{}", RawValue::get));
        let members = [
            params.meta,
            params.name,
            params.uri,
            params.task_id,
            params.arguments,
            params.task,
            params.input_responses,
            params.request_state,
        ];
        format!("{} {} {members:?} {all:?}", request.id, request.method)
    }

    #[test]
    fn it_reads_what_the_layers_read() {
        for text in [
            CALL,
            r#" { "method" : "ping" , "id" : "a" , "jsonrpc" : "2.0" } "#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{},"extra":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":null,"task":null,"name":null}}"#,
        ] {
            let (request, params) = super::request(text.as_bytes()).expect(text);
            assert_eq!(Some(told(&request, &params)), in_layers(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_layers() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{}{}}}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        );
        for text in [
            "",
            "[]",
            r#"["2.0",1,"m",{}]"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[null,"add"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":3}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m"} x"#,
            &deep,
        ] {
            assert!(super::request(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// Whatever byte of a call is another one: if it is still read here, it means the same to the layers.
    #[test]
    fn no_changed_byte_makes_it_read_something_else() {
        let mut read = 0;
        for at in 0..CALL.len() {
            for byte in (0..=127).chain([0xc3, 0xff]) {
                let mut bytes = CALL.as_bytes().to_vec();
                bytes[at] = byte;
                if let Some((request, params)) = super::request(&bytes) {
                    let text = String::from_utf8_lossy(&bytes);
                    assert_eq!(Some(told(&request, &params)), in_layers(&bytes), "{text}");
                    read += 1;
                }
            }
        }
        assert!(read > 1000, "{read}");
    }
}
