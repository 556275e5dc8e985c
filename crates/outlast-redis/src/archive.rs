//! Copies: see [`outlast_core::archive`].
//!
//! A copy is written in two commits, one that removes what is there and one that creates: whoever is cut
//! off in between copies again.

use async_trait::async_trait;
use outlast_core::archive::{Archive, Dossier, KeyOf, NamedKey, SmallRecord};
use outlast_core::blob::RecordedArtifact;
use outlast_core::{Error, JournalKind, LogChunk, Result, Timestamp};
use redis::Value;

use crate::executor::{Executor, done};
use crate::failure::Failure;
use crate::row;
use crate::same;
use crate::store::RedisStore;
use crate::unit::Unit;

/// How many values are read at a time.
const MANY: usize = 500;

#[async_trait]
impl Archive for RedisStore {
    async fn check_unused(&self) -> Result<()> {
        self.run(|executor| async move {
            let processes = executor.processes().await?;
            match processes.another(&executor.origin, executor.clock.now()) {
                None => Ok(()),
                Some(process) => Err(Error::broken(format!(
                    "the task store {} is in use by {process}: stop every server and worker on it first",
                    executor.link.location
                ))),
            }
        })
        .await
    }

    async fn import(&self, dossier: Dossier) -> Result<()> {
        self.run(|executor| async move {
            let removed = executor.run(|unit| unit.replace_away(&dossier), |_| None);
            done(removed.await?);
            let imported = executor.run(|unit| unit.import(&dossier), |_| None);
            done(imported.await?);
            Ok(())
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<NamedKey>> {
        self.run(|executor| async move { executor.named_keys().await })
            .await
    }

    async fn name(&self, keys: &[NamedKey]) -> Result<()> {
        let keys = keys.to_vec();
        self.run(|executor| async move {
            for key in &keys {
                done(executor.run(|unit| unit.name_task(key), |_| None).await?);
            }
            Ok(())
        })
        .await
    }

    async fn small_records(&self) -> Result<Vec<SmallRecord>> {
        self.run(|executor| async move { executor.small_records().await })
            .await
    }
}

impl Unit<'_> {
    fn replace_away(&mut self, dossier: &Dossier) -> Result<(), Failure> {
        let id = dossier.task.id();
        self.need_all([id])?;
        if let Some(there) = self.find(id)? {
            self.remove_as_is(&there)?;
        }
        Ok(())
    }

    fn import(&mut self, dossier: &Dossier) -> Result<(), Failure> {
        let task = &dossier.task;
        let id = task.id();
        if self.find_new(id)?.is_some() {
            return Err(Error::broken(format!("task {id} was created while it was copied")).into());
        }
        self.insert_as_is(task, dossier.events.clone());
        let text = id.to_string();
        for entry in &dossier.journal {
            let name = row::entry_name(entry.kind, &entry.name);
            let json = row::encode("journal entry", entry)?;
            self.operate("record", [text.clone(), name, json]);
            if entry.kind == JournalKind::Artifact
                && let Ok(artifact) = entry.recorded.json().to::<RecordedArtifact>()
            {
                self.operate("keep", [text.clone(), artifact.blob]);
            }
        }
        for signal in &dossier.signals {
            let key = format!("s:{id}");
            let field = format!("n{}:{}", signal.number, signal.name);
            self.call(&["HSET", &key, &field, &row::encode("signal", signal)?]);
            if let Some(signal_id) = &signal.id {
                let number = signal.number.to_string();
                self.call(&["HSET", &key, &format!("i{signal_id}"), &number]);
            }
        }
        for chunk in &dossier.log.chunks {
            self.import_chunk(&text, chunk);
        }
        let head = [
            Some(dossier.log.end).filter(|end| *end > 0),
            dossier.log.mark,
        ];
        for (field, value) in ["log", "mark"].into_iter().zip(head) {
            if let Some(value) = value {
                self.call(&["HSET", &format!("d:{id}"), field, &value.to_string()]);
            }
        }
        if !task.is_finished() {
            // Those that come after it may have been copied before.
            self.call(&["HSET", &format!("t:{id}"), "awaited", "1"]);
        }
        Ok(())
    }

    fn import_chunk(&mut self, id: &str, chunk: &LogChunk) {
        let start = chunk.offset.to_string();
        let mut piece = format!(
            "{start}:{}:{}:{}:{}:{}",
            chunk.text.len(),
            row::millis(chunk.at),
            chunk.level.as_str(),
            chunk.logger.len(),
            chunk.logger
        )
        .into_bytes();
        piece.extend_from_slice(&chunk.text);
        let words: [&[u8]; 5] = [b"4", b"ZADD", b"", start.as_bytes(), &piece];
        let key = format!("l:{id}").into_bytes();
        let words = words.map(|word| if word.is_empty() { &key } else { word });
        self.operate("call", words);
    }
}

impl Executor {
    async fn named_keys(&self) -> Result<Vec<NamedKey>> {
        let mut found = Vec::new();
        for (word, of) in [("call:", KeyOf::Call), ("same:", KeyOf::Work)] {
            let prefix = self.link.key(word);
            let names = self.keys(&format!("{prefix}*")).await?;
            for names in names.chunks(MANY) {
                let get = redis::cmd("MGET").arg(names).take();
                let values = row::array(self.link.command(&get).await?);
                let pairs = names.iter().zip(&values);
                found.extend(pairs.filter_map(|(name, value)| {
                    let key = same::key_in(name.strip_prefix(&prefix)?)?;
                    let (task, until, digest) = same::meaning(&row::text(value))?;
                    Some(NamedKey {
                        task,
                        of,
                        key: key.to_owned(),
                        digest,
                        until,
                    })
                }));
            }
        }
        Ok(found)
    }

    async fn small_records(&self) -> Result<Vec<SmallRecord>> {
        let (prefix, now) = (self.link.key("x:"), self.clock.now());
        let mut found = Vec::new();
        for key in self.keys(&format!("{prefix}*")).await? {
            let Some(rest) = key.strip_prefix(&prefix) else {
                continue;
            };
            let (name, Some(value), expires_at) = self.small_record(&format!("x:{rest}")).await?
            else {
                continue;
            };
            let Some((length, name)) = name.split_once(':') else {
                continue;
            };
            let length = length.parse().unwrap_or(0);
            let Some((space, key)) = name.split_at_checked(length) else {
                continue;
            };
            if expires_at.is_none_or(|at| at > now) {
                found.push(SmallRecord {
                    space: space.to_owned(),
                    key: key.to_owned(),
                    value,
                    expires_at,
                });
            }
        }
        Ok(found)
    }

    async fn small_record(
        &self,
        name: &str,
    ) -> Result<(String, Option<Vec<u8>>, Option<Timestamp>)> {
        let (text, value) = self.record_get(name).await?;
        let expires = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let expires = std::str::from_utf8(expires).ok();
        let expires = expires.and_then(|millis| millis.parse().ok());
        let rest = name.strip_prefix("x:").unwrap_or(name).to_owned();
        Ok((rest, value, expires.map(Timestamp::from_millis)))
    }

    /// The names of all keys that match a pattern.
    async fn keys(&self, pattern: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let scan = redis::cmd("SCAN")
                .arg(&cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(1000)
                .take();
            let mut parts = row::array(self.link.command(&scan).await?).into_iter();
            let (next, keys) = (parts.next(), parts.next());
            let keys = row::array(keys.unwrap_or(Value::Nil));
            names.extend(keys.iter().map(row::text));
            cursor = next.as_ref().map(row::text).unwrap_or_default();
            if cursor == "0" || cursor.is_empty() {
                // A key may be named more than once.
                names.sort_unstable();
                names.dedup();
                return Ok(names);
            }
        }
    }
}
