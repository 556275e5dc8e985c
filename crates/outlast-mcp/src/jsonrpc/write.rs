//! Writing messages: the parts are JSON already and only have to be put side by side.

use serde::Serialize;

use super::error::RpcError;

/// A response with this result.
pub fn response(id: &str, result: &str) -> Vec<u8> {
    let mut out = begin_response(id, result.len());
    out.extend_from_slice(result.as_bytes());
    end_response(&mut out);
    out
}

/// The bytes before a result, in a buffer with room for `room` more.
pub(crate) fn begin_response(id: &str, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + id.len() + room);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","result":"#);
    out
}

/// The bytes after a result.
pub(crate) fn end_response(out: &mut Vec<u8>) {
    out.push(b'}');
}

/// The response to a batch: an array of responses. `None` if there is nothing to respond.
pub(crate) fn batch_response(responses: &[Vec<u8>]) -> Option<Vec<u8>> {
    if responses.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(responses.iter().map(|response| response.len() + 1).sum());
    for response in responses {
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(response);
    }
    out.push(b']');
    Some(out)
}

/// An error response. Without an id where the request's could not be read: both eras' schemas know
/// no null id.
pub fn error_response(id: Option<&str>, error: &RpcError) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(br#","error":"#);
    append(&mut out, error);
    out.push(b'}');
    out
}

/// A notification.
pub fn notification<T: Serialize + ?Sized>(method: &str, params: &T) -> Vec<u8> {
    call(None, method, params)
}

/// A request.
pub fn request<T: Serialize + ?Sized>(id: &str, method: &str, params: &T) -> Vec<u8> {
    call(Some(id), method, params)
}

fn call<T: Serialize + ?Sized>(id: Option<&str>, method: &str, params: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(br#","method":"#);
    append(&mut out, method);
    out.extend_from_slice(br#","params":"#);
    append(&mut out, params);
    out.push(b'}');
    out
}

fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("wire types have a JSON form");
}

/// Makes a message fit on one line. JSON allows line breaks only between its tokens, so a space in
/// their place changes nothing.
pub fn one_line(message: &mut [u8]) {
    for byte in message {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_spliced() {
        assert_eq!(
            response(r#""a""#, "{}"),
            br#"{"jsonrpc":"2.0","id":"a","result":{}}"#
        );
        let error = RpcError::invalid_params("no");
        assert_eq!(
            error_response(None, &error),
            br#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"no"}}"#
        );
        assert_eq!(
            request("1", "a/b", &[0; 0]),
            br#"{"jsonrpc":"2.0","id":1,"method":"a/b","params":[]}"#
        );
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let mut message = b"{\r\n\"a\":\n1}".to_vec();
        one_line(&mut message);
        assert_eq!(message, b"{  \"a\": 1}");
    }
}
