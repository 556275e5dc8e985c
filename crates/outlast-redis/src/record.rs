//! Small records: a value and when it expires, under a space and a key.

use std::time::Duration;

use outlast_core::{Result, Timestamp};
use redis::Value;

use crate::executor::Executor;
use crate::row;
use crate::script::Script;

/// How long a small record outlives its time, so that clocks need not agree.
const RECORD_MARGIN: Duration = Duration::from_secs(60 * 60);

impl Executor {
    pub(crate) async fn record_put(
        &self,
        name: &str,
        value: &[u8],
        expires_at: Option<Timestamp>,
        only_new: Option<&[u8]>,
    ) -> Result<bool> {
        row::check_length("record", value.len())?;
        let mut text = expires_at.map_or(String::new(), row::millis).into_bytes();
        text.push(b' ');
        text.extend_from_slice(value);
        let kept = expires_at.map(|at| {
            let left = at.since(self.clock.now()) + RECORD_MARGIN;
            u64::try_from(left.as_millis())
                .unwrap_or(u64::MAX)
                .min(1 << 45)
        });
        let mut arguments = vec![name.as_bytes().to_vec(), text];
        arguments.push(
            kept.map_or(String::new(), |kept| kept.to_string())
                .into_bytes(),
        );
        arguments.extend(only_new.map(<[u8]>::to_vec));
        let answer = self.link.script(Script::Record, arguments).await?;
        Ok(row::int(&answer) == 1)
    }

    /// The record under a name as it is kept, and its value unless it has expired.
    pub(crate) async fn record_get(&self, name: &str) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let get = redis::cmd("GET").arg(self.link.key(name)).take();
        let text = match self.link.command(&get).await? {
            Value::BulkString(text) => text,
            _ => return Ok((Vec::new(), None)),
        };
        let space = text.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let now = self.clock.now();
        let expires: Option<i64> = std::str::from_utf8(&text[..space])
            .ok()
            .and_then(|expires| expires.parse().ok());
        let expired = expires.is_some_and(|at| Timestamp::from_millis(at) <= now);
        let value = text.get(space + 1..).unwrap_or_default().to_vec();
        Ok((text, (!expired).then_some(value)))
    }
}

/// Where a small record stands.
pub(crate) fn record_name(space: &str, key: &str) -> String {
    format!("x:{}:{space}{key}", space.len())
}
