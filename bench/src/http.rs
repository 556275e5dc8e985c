//! One keep-alive HTTP/1.1 connection that costs as little as possible.
//!
//! The loader shares two cores with the server it loads, so it does not use an
//! HTTP library: a request is bytes made before the window begins, and of a
//! response only the status line, the length and the body are looked at. It
//! understands `Content-Length` and chunked bodies, which is all that the
//! servers measured here send.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection with the buffer its responses are read into.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    decoded: Vec<u8>,
}

/// A response, borrowed from its connection's buffer.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Response<'_> {
    /// The body's JSON-RPC message, whether it came as JSON or as the one event
    /// of an event stream.
    ///
    /// # Errors
    /// The status and the body, when there is no message in it.
    pub(crate) fn message(&self) -> crate::Result<serde_json::Value> {
        let text = String::from_utf8_lossy(self.body);
        let json = if self.body.starts_with(b"{") {
            text.as_ref()
        } else {
            text.lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .next_back()
                .unwrap_or_default()
        };
        serde_json::from_str(json).map_err(|_| {
            format!(
                "status {} with a body that is not JSON: {text:.400}",
                self.status
            )
            .into()
        })
    }
}

impl Connection {
    /// Connects with `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
            decoded: Vec::new(),
        })
    }

    /// Sends one request and reads the whole response.
    ///
    /// # Errors
    /// Those of the socket; `InvalidData` for a response without a length.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Response<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head_end = loop {
            if let Some(at) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = &self.buffer[..head_end];
        let status = status(head)?;
        if status == 202 || status == 204 {
            // Neither of them has a body here, nor says so.
            let (head, body) = (&self.buffer[..head_end], &[][..]);
            return Ok(Response { status, head, body });
        }
        if let Some(length) = header(head, b"content-length") {
            let length: usize = std::str::from_utf8(length)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| invalid("a content-length that is no number"))?;
            while self.filled < head_end + length {
                self.read_more().await?;
            }
            let body = &self.buffer[head_end..head_end + length];
            let head = &self.buffer[..head_end];
            return Ok(Response { status, head, body });
        }
        if header(head, b"transfer-encoding").is_none() {
            return Err(invalid("a response with neither content-length nor chunks"));
        }
        self.decoded.clear();
        let mut at = head_end;
        loop {
            let line_end = loop {
                if let Some(end) = find(&self.buffer[at..self.filled], b"\r\n") {
                    break at + end;
                }
                self.read_more().await?;
            };
            let size = std::str::from_utf8(&self.buffer[at..line_end])
                .ok()
                .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
                .ok_or_else(|| invalid("a chunk size that is no number"))?;
            let data = line_end + 2;
            while self.filled < data + size + 2 {
                self.read_more().await?;
            }
            if size == 0 {
                break;
            }
            self.decoded
                .extend_from_slice(&self.buffer[data..data + size]);
            at = data + size + 2;
        }
        Ok(Response {
            status,
            head: &self.buffer[..head_end],
            body: &self.decoded,
        })
    }

    /// Sends a request whose response is an event stream.
    ///
    /// # Errors
    /// Those of the socket; `InvalidData` for any other response, with its body.
    pub(crate) async fn open_stream(mut self, request: &[u8]) -> io::Result<EventStream> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head_end = loop {
            if let Some(at) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = &self.buffer[..head_end];
        let chunked = header(head, b"transfer-encoding") == Some(b"chunked");
        if status(head)? != 200 || !chunked {
            let answer = String::from_utf8_lossy(&self.buffer[..self.filled]);
            return Err(io::Error::other(format!(
                "no event stream but {answer:.600}"
            )));
        }
        Ok(EventStream {
            raw: self.buffer[head_end..self.filled].to_vec(),
            text: Vec::new(),
            line: String::new(),
            stream: self.stream,
        })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            ));
        }
        self.filled += read;
        Ok(())
    }
}

/// A chunked response that is read line by line as it arrives.
pub(crate) struct EventStream {
    stream: TcpStream,
    /// Bytes as they came, chunk sizes included.
    raw: Vec<u8>,
    /// Bytes of the body that are no whole line yet.
    text: Vec<u8>,
    line: String,
}

impl EventStream {
    /// The next line of the body, without its end.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the stream has ended.
    pub(crate) async fn line(&mut self) -> io::Result<&str> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.text[..end]).into_owned();
                self.text.drain(..=end);
                self.line = line;
                return Ok(self.line.trim_end_matches('\r'));
            }
            if !self.take_chunk()? && self.stream.read_buf(&mut self.raw).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the stream ended",
                ));
            }
        }
    }

    /// Moves one whole chunk from `raw` to `text`, if there is one.
    fn take_chunk(&mut self) -> io::Result<bool> {
        let Some(line_end) = find(&self.raw, b"\r\n") else {
            return Ok(false);
        };
        let size = std::str::from_utf8(&self.raw[..line_end])
            .ok()
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
            .ok_or_else(|| invalid("a chunk size that is no number"))?;
        let data = line_end + 2;
        if self.raw.len() < data + size + 2 {
            return Ok(false);
        }
        if size == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the stream ended",
            ));
        }
        self.text.extend_from_slice(&self.raw[data..data + size]);
        self.raw.drain(..data + size + 2);
        Ok(true)
    }
}

fn status(head: &[u8]) -> io::Result<u16> {
    head.get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| invalid("a status line without a status"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Where `needle` begins in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len())
        .position(|window| window == needle)
}

/// The value of the header `name` (lower case) in a response's head.
pub(crate) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (field, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        field.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// A server that answers every connection with `reply`, in two writes.
    async fn answering(reply: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
                let (first, second) = reply.split_at(reply.len() / 2);
                stream.write_all(first).await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(second).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_body_with_a_length_is_read_whole() {
        let at = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}").await;
        let mut connection = Connection::open(at).await.unwrap();
        let response = connection.send(REQUEST).await.unwrap();
        assert_eq!((response.status, response.body), (200, &b"{\"a\":1}"[..]));
    }

    #[tokio::test]
    async fn a_chunked_event_yields_its_message() {
        let at = answering(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: {\"a\r\n6\r\n\":1}\n\n\r\n0\r\n\r\n",
        )
        .await;
        let mut connection = Connection::open(at).await.unwrap();
        let response = connection.send(REQUEST).await.unwrap();
        assert_eq!(response.message().unwrap(), serde_json::json!({"a": 1}));
    }

    #[tokio::test]
    async fn a_stream_is_read_by_lines_wherever_its_chunks_end() {
        let at = answering(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: on\r\n5\r\ne\n\nda\r\n8\r\nta: two\n\r\n0\r\n\r\n",
        )
        .await;
        let connection = Connection::open(at).await.unwrap();
        let mut stream = connection.open_stream(REQUEST).await.unwrap();
        assert_eq!(stream.line().await.unwrap(), "data: one");
        assert_eq!(stream.line().await.unwrap(), "");
        assert_eq!(stream.line().await.unwrap(), "data: two");
        let end = stream.line().await.err().unwrap();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_response_without_a_length_is_refused() {
        let at = answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody").await;
        let mut connection = Connection::open(at).await.unwrap();
        let error = connection.send(REQUEST).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn header_names_are_matched_whole_and_in_any_case() {
        let head = b"HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nCONTENT-LENGTH:  12 \r\n\r\n";
        assert_eq!(header(head, b"content-length"), Some(&b"12"[..]));
        assert_eq!(header(head, b"content"), None);
    }
}
