//! Messages that were right once: whatever a stranger changes in them, there is a clear answer and
//! the server goes on.

use serde_json::{Value, json};

use crate::rig::{Rig, declaring, modern_body, modern_headers, whole};

/// Small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn seed() -> u64 {
    let seed = std::env::var("OUTLAST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed =
        seed.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    println!("OUTLAST_SEED={seed}");
    seed | 1
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const SPICE: &[&[u8]] = &[
        b"null",
        b"[]",
        b"{}",
        b"\"\"",
        b"-1",
        b"1e999",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"[[[[",
        b"}",
        b",",
        b"\"_meta\":7,",
        b"\n",
    ];
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.remove(at)),
            3 => {
                let spice = SPICE[random.below(SPICE.len())];
                bytes.splice(at..at, spice.iter().copied());
            }
            _ => {
                let end = (at + random.below(12)).min(bytes.len());
                let spice = SPICE[random.below(SPICE.len())];
                bytes.splice(at..end, spice.iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
}

#[tokio::test]
async fn every_changed_message_gets_an_answer() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = rig.create("quick").await;
    let answer = json!({"action": "accept", "content": {"x": 1}});
    let modern = [
        ("server/discover", json!({})),
        ("tools/list", json!({"cursor": "x"})),
        (
            "tools/call",
            json!({"name": "add", "arguments": {"a": 1, "b": 2}}),
        ),
        (
            "tools/call",
            json!({"name": "ask_first", "arguments": {}, "requestState": "AAAA",
            "inputResponses": {"user_name": answer}}),
        ),
        ("tasks/get", json!({"taskId": id})),
        (
            "tasks/update",
            json!({"taskId": id, "inputResponses": {"k": answer}}),
        ),
        ("tasks/cancel", json!({"taskId": id})),
    ];
    let legacy = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "add", "arguments": {"a": 1}, "task": {"ttl": 1}}}),
        json!({"jsonrpc": "2.0", "id": "x", "method": "tasks/result", "params": {"taskId": id}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "info"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "id": "AQ", "result": answer}),
    ];
    let mut random = Random(seed());
    for _ in 0..3000 {
        let pick = random.below(modern.len() + legacy.len());
        let (mut bytes, headers) = match modern.get(pick) {
            Some((method, params)) => {
                let body = modern_body(7, &declaring(), method, params.clone());
                let headers = modern_headers(&body);
                (body.to_string().into_bytes(), headers)
            }
            None => {
                let headers = vec![("mcp-session-id", session.id.clone())];
                (
                    legacy[pick - modern.len()].to_string().into_bytes(),
                    headers,
                )
            }
        };
        mutate(&mut random, &mut bytes);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (status, message) = whole(rig.post(&headers, bytes).await).await;
        match status {
            202 => assert_eq!(message, Value::Null, "{text}"),
            200 | 400 | 404 => {
                assert_eq!(message["jsonrpc"], "2.0", "{text}: {message}");
                let answered = message.get("result").is_some() != message.get("error").is_some();
                assert!(answered, "{text}: {message}");
                if let Some(error) = message.get("error") {
                    let said = error["message"].as_str().unwrap();
                    assert!(
                        !said.is_empty() && error["code"] != -32603,
                        "{text}: {message}"
                    );
                }
            }
            _ => panic!("{status} for {text}: {message}"),
        }
    }
}
