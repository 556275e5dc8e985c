//! One run of a command tool as its handler follows it: from its start, or from where it was found, to what
//! came of it.
//!
//! How far the output was taken over is stored together with the output itself, as the log's mark (the
//! run's number and an offset in its log), so that no byte is stored twice and none is left out.
//!
//! A call that has no record yet keeps its output in memory; a quick command that is called
//! synchronously costs the store nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use outlast_core::log::unfinished;
use outlast_core::{Level, LogLine, RawJson, ToolResult};
use outlast_engine::{Cx, Error, ErrorKind, Mask, Result};
use tokio::process::Child;
use tokio::time::Instant;

use super::folder::{RunFolder, Started, Status, StopCause};
use super::follow::{Followed, Follower};
use super::limits::bytes as size;
use super::output::HALF;
use super::progress::{ProgressReader, ProgressUpdate};
use super::tool::CommandHandler;
use super::{artifacts, orphans, outcome};

/// Output waits this long for more before it is stored.
const BATCH: Duration = Duration::from_millis(200);

/// Output is stored at once from this size on.
const FULL: usize = 256 * 1024;

/// The most output that a call without a record keeps in memory; more makes it have one.
const UNSTORED: usize = 1024 * 1024;

/// How often a shim is started for one run before that counts as impossible.
const STARTS: u32 = 3;

/// How often in a row, and in what distance, it is tried to look at a run.
pub(super) const TROUBLES: u32 = 120;
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// A mark of the log holds the run's number above and the offset below this bit.
const OFFSET_BITS: u32 = 48;

/// How a run ended, for its handler.
pub(super) enum Ending {
    Status(Status),
    /// Gone without a status, or stopped by a signal from elsewhere.
    Interrupted,
    /// Cancelled before anything was started.
    NeverStarted,
}

/// A run that is being followed.
pub(super) struct Run<'a> {
    handler: &'a CommandHandler,
    cx: &'a Cx,
    arguments: &'a RawJson,
    number: u64,
    folder: RunFolder,
    progress: ProgressReader,
    /// Output that is not in the store yet, and when it should be.
    pending: Vec<u8>,
    store_at: Option<Instant>,
    /// How far the output has been read.
    offset: u64,
    /// The output has ended.
    over: bool,
    shim: Option<Child>,
    starts: u32,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        handler: &'a CommandHandler,
        cx: &'a Cx,
        arguments: &'a RawJson,
        number: u64,
        folder: RunFolder,
    ) -> Self {
        Self {
            handler,
            cx,
            arguments,
            number,
            folder,
            progress: ProgressReader::new(handler.command.progress.clone()),
            pending: Vec::new(),
            store_at: None,
            offset: 0,
            over: false,
            shim: None,
            starts: 0,
        }
    }

    /// Follows the run to its end, starting it if nobody has.
    pub(super) async fn follow(&mut self) -> Result<Ending> {
        let mark = self.cx.log_mark().await?;
        self.offset = mark
            .filter(|mark| mark >> OFFSET_BITS == self.number)
            .map_or(0, |mark| mark & ((1 << OFFSET_BITS) - 1));
        let mut follower = Follower::new(self.folder.clone(), self.offset);
        let mut cancelled = false;
        let mut troubles = 0;
        let cx = self.cx;
        loop {
            let store_at = self.store_at;
            let next = tokio::select! {
                biased;
                () = cx.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.folder.request_cancel()?;
                    continue;
                }
                () = tokio::time::sleep_until(store_at.unwrap_or_else(Instant::now)),
                    if store_at.is_some() =>
                {
                    self.store(false).await?;
                    continue;
                }
                // A shim of ours that ends is news at once; the follower would find out later.
                () = ended(&mut self.shim), if self.shim.is_some() => {
                    self.shim = None;
                    continue;
                }
                next = follower.next() => next,
            };
            let next = match next {
                Ok(next) => {
                    troubles = 0;
                    next
                }
                // A command of hours is not given up because the machine had no file descriptor
                // left for a moment.
                Err(error) if troubles < TROUBLES => {
                    troubles += 1;
                    let task = self.cx.task_id();
                    tracing::warn!(%task, %error, "cannot follow a command; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match next {
                Followed::Output(piece) => {
                    self.offset = follower.offset();
                    let update = self.progress.feed(&piece);
                    self.tell(update);
                    if self.handler.is_logged {
                        self.pending.extend_from_slice(&piece);
                        self.store_at.get_or_insert_with(|| Instant::now() + BATCH);
                        if self.pending.len() >= FULL {
                            self.store(self.pending.len() >= UNSTORED).await?;
                        }
                    }
                }
                Followed::Gap(bytes) => {
                    let hidden = self.cx.mask().longest() as u64;
                    // What stands there may be the end of a secret whose beginning is gone.
                    follower.pass_over(hidden);
                    self.offset = follower.offset();
                    self.tell_gap(bytes + hidden).await?;
                }
                Followed::NotStarted if cancelled => return Ok(Ending::NeverStarted),
                Followed::NotStarted => self.start().await?,
                Followed::Ended(status) => {
                    self.take_over().await?;
                    return Ok(match status.stopped {
                        Some(StopCause::Signal) => Ending::Interrupted,
                        // Not by anybody who may: its handler went while its record was being made.
                        Some(StopCause::Cancel) if !cancelled => Ending::Interrupted,
                        _ => Ending::Status(status),
                    });
                }
                Followed::Vanished(started) => {
                    self.take_over().await?;
                    self.bury(&started).await?;
                    return Ok(Ending::Interrupted);
                }
            }
        }
    }

    /// Starts a shim, unless one that was started is still on its way.
    async fn start(&mut self) -> Result<()> {
        if self.shim.is_some() {
            // On its way. If it comes to nothing, its end is noticed.
            tokio::time::sleep(Duration::from_millis(2)).await;
            return Ok(());
        }
        if self.starts == STARTS {
            return Err(Error::tool(format!(
                "the command could not be started: {}",
                self.folder.shim_says()
            )));
        }
        self.starts += 1;
        // Only here: a command that runs already is followed whatever its file says of its arguments by
        // now.
        let secrets = self.handler.secrets(self.arguments)?;
        let launcher = self.handler.runs.launcher();
        match launcher.launch(&self.folder, &secrets) {
            Ok(shim) => self.shim = Some(shim),
            Err(error) if self.starts == STARTS => {
                return Err(Error::tool(format!(
                    "the command could not be started: {error}"
                )));
            }
            // The machine has no process or no memory left just now.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        Ok(())
    }

    fn tell(&self, update: Option<ProgressUpdate>) {
        let Some(update) = update else { return };
        let progress = self.cx.progress();
        if let Some(total) = update.total {
            progress.total(total);
        }
        if let Some(message) = update.message {
            progress.message(message);
        }
        if let Some(done) = update.done {
            progress.done(done);
        }
    }

    /// Stores the output that waits, together with how far it has been read. A call without a record
    /// gets one only if `must`.
    async fn store(&mut self, must: bool) -> Result<()> {
        if !must && !self.cx.is_stored() {
            self.store_at = Some(Instant::now() + BATCH);
            return Ok(());
        }
        self.store_at = None;
        // What may be the beginning of a secret waits for the rest, or for the end; so does a character.
        let complete = if self.over {
            self.pending.len()
        } else {
            let complete = self.cx.mask().complete(&self.pending);
            complete - unfinished(&self.pending[..complete])
        };
        let waits = self.pending.split_off(complete);
        let ready = std::mem::replace(&mut self.pending, waits);
        if ready.is_empty() {
            return Ok(());
        }
        let told = self.offset - self.pending.len() as u64;
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text: ready,
            mark: Some(self.number << OFFSET_BITS | told),
        };
        self.cx.write_log(vec![line]).await.map(drop)
    }

    /// Stores what waits, and says that so many bytes behind it are not kept. What waits for the rest of
    /// a secret or of a character goes with them.
    async fn tell_gap(&mut self, bytes: u64) -> Result<()> {
        if !self.handler.is_logged {
            return Ok(());
        }
        let complete = self.cx.mask().complete(&self.pending);
        self.pending.truncate(complete);
        self.pending.truncate(complete - unfinished(&self.pending));
        self.store_at = None;
        let mut text = std::mem::take(&mut self.pending);
        let note = format!(
            "\n[{} of output are not kept: a command's log holds its beginning and its end]\n",
            size(bytes)
        );
        text.extend_from_slice(note.as_bytes());
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text,
            mark: Some(self.number << OFFSET_BITS | self.offset),
        };
        self.cx.write_log(vec![line]).await.map(drop)
    }

    /// The output has ended: stores the rest and reads the last line.
    async fn take_over(&mut self) -> Result<()> {
        let update = self.progress.finish();
        self.tell(update);
        self.over = true;
        let mask = self.cx.mask();
        if !mask.is_empty() {
            // The command wrote the file itself; now it can be cleaned.
            let (log, gap) = (self.folder.log_path(), self.folder.gap_end()?);
            tokio::task::spawn_blocking(move || scrub(&log, gap, &mask)).await??;
        }
        if self.cx.is_stored() {
            self.store(true).await
        } else {
            Ok(())
        }
    }

    /// Sees to it that nothing of a vanished run is left.
    async fn bury(&self, started: &Started) -> Result<()> {
        let killed = orphans::kill(&self.folder, started).await?;
        if killed > 0 {
            let task = self.cx.task_id();
            tracing::warn!(%task, killed, "a command's shim was killed; what it left is ended");
        }
        Ok(())
    }

    pub(super) async fn result(&self, status: &Status) -> Result<ToolResult> {
        if let Some(used) = status.used {
            let cpu = Duration::from_millis(used.cpu_ms);
            self.cx.used(Some(cpu), used.peak_memory);
        }
        let spec = self.folder.spec()?;
        let patterns = &self.handler.command.artifacts;
        let folder = &spec.working_dir;
        let kept = artifacts::keep(self.cx, patterns, folder, status.started_at_ms).await?;
        let whole = if self.cx.is_stored() {
            format!("outlast tasks logs {}", self.cx.task_id())
        } else {
            String::new()
        };
        Ok(outcome::result(
            status,
            &self.folder.log_path(),
            &spec,
            &whole,
            &kept,
        )?)
    }

    /// Makes the next run, with a word about it in the log.
    pub(super) async fn repeat(&self) -> Result<()> {
        let number = self.number + 1;
        if self.handler.is_logged {
            let line = LogLine {
                level: Level::Warning,
                logger: "outlast".to_owned(),
                text: b"the command was interrupted and is run again\n".to_vec(),
                mark: Some(number << OFFSET_BITS),
            };
            self.cx.write_log(vec![line]).await?;
        }
        match self.handler.create(number, self.arguments, self.cx).await {
            Ok(_) => Ok(()),
            // The arguments were good once; what has changed is outside.
            Err(error) if matches!(error.kind(), ErrorKind::Arguments(_)) => Err(Error::tool(
                format!("the command cannot be run again: {error}"),
            )),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Run<'_> {
    /// A call without a record can never be asked for again: what nobody follows any more is stopped. The
    /// shim needs no server for that.
    fn drop(&mut self) {
        if !self.over && !self.cx.is_stored() {
            let _ = self.folder.request_cancel();
        }
    }
}

/// Waits for the end of a shim. Cancel safe.
async fn ended(shim: &mut Option<Child>) {
    if let Some(shim) = shim {
        // How it ended stands in the folder.
        let _ = shim.wait().await;
    }
}

/// Blots out secrets in a log that nobody writes any more, whose gap ends there. Its length stays as it is.
fn scrub(path: &Path, gap: u64, mask: &Mask) -> io::Result<()> {
    const PIECE: usize = 1024 * 1024;
    let file = File::options().read(true).write(true).open(path)?;
    let mut piece = vec![0; PIECE + mask.longest()];
    let mut at = 0;
    loop {
        let mut length = 0;
        while length < piece.len() {
            match file.read_at(&mut piece[length..], at + length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        if mask.blot(&mut piece[..length]) {
            file.write_all_at(&piece[..length], at)?;
        }
        if length < piece.len() {
            return file.sync_all();
        }
        // The end is looked at again: a secret may go over it.
        at += PIECE as u64;
        if at > HALF && at < gap {
            // There is nothing, for as long as the command has printed.
            at = gap;
        }
    }
}
