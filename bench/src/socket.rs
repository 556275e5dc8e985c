//! One WebSocket that only reads (RFC 6455): the handshake, and frames from a server, which are never
//! masked.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Result, http::find, process::Server};

/// No message of ours is longer, except a result, which these rows do not read.
const LONGEST: u64 = 1024 * 1024;

/// An open socket on a task.
pub(crate) struct Socket {
    stream: TcpStream,
    raw: Vec<u8>,
}

impl Socket {
    /// Opens the socket of a task.
    ///
    /// # Errors
    /// The server does not switch protocols.
    pub(crate) async fn open(server: &Server, task: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        // The key only has to be sixteen bytes; what the server makes of it is not in question here.
        let request = format!(
            "GET /ws/{task} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.host()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut raw = Vec::new();
        let head = loop {
            if let Some(at) = find(&raw, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut raw).await? == 0 {
                return Err("the server closed the socket in its handshake".into());
            }
        };
        if !raw.starts_with(b"HTTP/1.1 101") {
            let answer = String::from_utf8_lossy(&raw);
            return Err(format!("no socket but {answer:.400}").into());
        }
        raw.drain(..head);
        Ok(Socket { stream, raw })
    }

    /// The next message; `None` once the server has closed the socket.
    ///
    /// # Errors
    /// Those of the socket; a message that is not JSON.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            let Some((code, payload)) = self.take_frame()? else {
                if self.stream.read_buf(&mut self.raw).await? == 0 {
                    return Ok(None);
                }
                continue;
            };
            match code {
                TEXT => return Ok(Some(serde_json::from_slice(&payload)?)),
                CLOSE => return Ok(None),
                // A ping within the seconds that a row takes need not be answered.
                _ => {}
            }
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Some((head, length)) = frame(&self.raw)? else {
            return Ok(None);
        };
        let code = self.raw[0] & 0x0f;
        let payload = self.raw[head..head + length].to_vec();
        self.raw.drain(..head + length);
        Ok(Some((code, payload)))
    }
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Where the payload of the first frame begins and how long it is, once all of it is there.
fn frame(raw: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(short) = raw.get(1) else {
        return Ok(None);
    };
    let (head, length) = match short {
        126 => match raw.get(2..4) {
            Some(bytes) => (4, u64::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
            None => return Ok(None),
        },
        127 => match raw.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(*short)),
    };
    if length > LONGEST {
        let what = format!("a frame of {length} bytes, or one that is masked");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let length = length as usize;
    Ok((raw.len() >= head + length).then_some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_told_apart() {
        assert_eq!(frame(b"").unwrap(), None);
        assert_eq!(frame(b"\x81\x02a").unwrap(), None);
        assert_eq!(frame(b"\x81\x02ab").unwrap(), Some((2, 2)));
        let mut long = vec![0x81, 126, 1, 0];
        assert_eq!(frame(&long).unwrap(), None);
        long.resize(4 + 256, b'x');
        assert_eq!(frame(&long).unwrap(), Some((4, 256)));
        let mut longer = vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        longer.resize(10 + 65_536, b'x');
        assert_eq!(frame(&longer).unwrap(), Some((10, 65_536)));
    }
}
