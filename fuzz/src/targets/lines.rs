//! The framing of stdio: whatever comes, every line that goes out is one JSON-RPC message, and the
//! connection ends when its input ends.

use outlast_core::Principal;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::bench::Bench;

pub(super) async fn try_one(bench: &Bench, input: &[u8]) -> Result<String, String> {
    let input = bench.filled(input);
    let (mut reader, writer) = tokio::io::duplex(1 << 20);
    let served = bench
        .server
        .serve_lines(Principal::local(), input.as_slice(), writer);
    let mut said = Vec::new();
    let (served, read) = tokio::join!(served, reader.read_to_end(&mut said));
    served.map_err(|error| format!("the connection failed: {error}"))?;
    read.map_err(|error| format!("the output broke: {error}"))?;
    let mut kinds = Vec::new();
    for line in said
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: Value = serde_json::from_slice(line).map_err(|error| {
            format!("{:?} is no message: {error}", String::from_utf8_lossy(line))
        })?;
        let each = message
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![message.clone()]);
        for message in each {
            if message["jsonrpc"] != "2.0" {
                return Err(format!("{message} is no message"));
            }
            kinds.push(format!("{}{}", message["error"]["code"], message["method"]));
        }
    }
    kinds.truncate(6);
    Ok(kinds.join(" "))
}
