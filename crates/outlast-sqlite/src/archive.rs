//! Copies: see [`outlast_core::archive`].

use async_trait::async_trait;
use outlast_core::archive::{Archive, Dossier, KeyOf, NamedKey, SmallRecord};
use outlast_core::{Result, Task, TaskId, Timestamp};
use rusqlite::params;
use std::sync::Arc;

use crate::failure::Failure;
use crate::row::{self, int};
use crate::same;
use crate::store::SqliteStore;
use crate::unit::Unit;

#[async_trait]
impl Archive for SqliteStore {
    /// Whoever has the store open has its lock.
    async fn check_unused(&self) -> Result<()> {
        Ok(())
    }

    async fn import(&self, dossier: Dossier) -> Result<()> {
        self.write(move |unit| unit.import(&dossier)).await
    }

    async fn keys(&self) -> Result<Vec<NamedKey>> {
        self.write(|unit| unit.keys()).await
    }

    async fn name(&self, keys: &[NamedKey]) -> Result<()> {
        let keys = keys.to_vec();
        self.write(move |unit| keys.iter().try_for_each(|key| unit.name(key)))
            .await
    }

    async fn small_records(&self) -> Result<Vec<SmallRecord>> {
        self.write(|unit| unit.small_records()).await
    }
}

impl Unit<'_> {
    fn import(&mut self, dossier: &Dossier) -> Result<(), Failure> {
        if let Some(there) = self.find(dossier.task.id())? {
            self.replace_away(&there)?;
        }
        let mut task = Task::clone(&dossier.task);
        task.state.sequence = self.known.sequence + 1;
        let sequence = int(task.state.sequence);
        let task = Arc::new(task);
        self.insert_as_is(&task, &dossier.events)?;
        for entry in &dossier.journal {
            let recorded = row::encode("journal entry", &entry.recorded)?;
            self.insert_journal(sequence, entry, &recorded)?;
        }
        for signal in &dossier.signals {
            self.statement(
                "INSERT INTO signal (task, name, number, id, at, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                sequence,
                signal.name,
                int(signal.number),
                signal.id,
                signal.at.as_millis(),
                signal.payload.as_str()
            ])?;
        }
        for chunk in &dossier.log.chunks {
            self.statement(
                "INSERT INTO log (task, start, at, level, logger, text)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                sequence,
                int(chunk.offset),
                chunk.at.as_millis(),
                chunk.level.as_str(),
                chunk.logger,
                chunk.text
            ])?;
        }
        if dossier.log.end > 0 || dossier.log.mark.is_some() {
            self.statement("INSERT INTO log_head (task, log_end, mark) VALUES (?1, ?2, ?3)")?
                .execute(params![
                    sequence,
                    int(dossier.log.end),
                    dossier.log.mark.map(int)
                ])?;
        }
        Ok(())
    }

    fn keys(&mut self) -> Result<Vec<NamedKey>, Failure> {
        let mut statement = self.conn.prepare_cached(
            "SELECT task.id, same.kind, same.key, same.digest, same.until
             FROM same JOIN task ON task.sequence = same.task",
        )?;
        let found = statement.query_map([], |row| {
            let kind: String = row.get(1)?;
            Ok(NamedKey {
                task: TaskId::from_bytes(row.get(0)?),
                of: match kind == same::SAME {
                    true => KeyOf::Work,
                    false => KeyOf::Call,
                },
                key: row.get(2)?,
                digest: row.get(3)?,
                until: Timestamp::from_millis(row.get(4)?),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn small_records(&mut self) -> Result<Vec<SmallRecord>, Failure> {
        let mut statement = self.conn.prepare_cached(
            "SELECT space, key, value, expires_at FROM record
             WHERE expires_at IS NULL OR expires_at > ?1",
        )?;
        let found = statement.query_map([self.now.as_millis()], |row| {
            Ok(SmallRecord {
                space: row.get(0)?,
                key: row.get(1)?,
                value: row.get(2)?,
                expires_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}
