//! Running commands so that they outlive the server: never twice, never lost without a word.
//!
//! A command runs under a *shim* ([`shim`]), a small process of its own session that waits for it,
//! while the server only reads two files: the log and the status. The server may be killed, restarted
//! and upgraded meanwhile. One [folder] holds all that the two share.
//!
//! # Why never two copies, and no silent loss
//!
//! The life of a run is a sequence of facts on the disk, each durable before the next may happen:
//!
//! 1. *Intended*: the folder with `spec.json` appears in one rename.
//! 2. *Locked*: a shim holds the lock (`flock` on `lock`). The kernel frees it when the last holder
//!    dies, in whatever way; nobody ever removes it.
//! 3. *Started*: `started.json` names the process that is about to become the command. It is written
//!    by that process itself, which holds the lock too, until it becomes the command.
//! 4. *Ended*: `status.json`, written by the shim while it holds the lock, after the log was synced.
//!
//! A shim proceeds only if it gets the lock and finds neither 3 nor 4. Hence at most one process per
//! folder ever passes 3: two that both had passed would both have held the lock while the other's
//! `started.json` was absent, and the later one had the lock only after the earlier one, with its
//! forerunner, was dead, at which time the file was there. So starting a shim is safe to repeat, and
//! a server that died between the intention and the start, or just after the start, repeats it.
//!
//! Whoever looks ([`RunFolder::state`]) sees one of:
//!
//! | status | lock | started | meaning |
//! |---|---|---|---|
//! | yes | | | ended |
//! | no | held | | running, go on following |
//! | no | free | no | nothing was executed and nothing will be: launch |
//! | no | free | yes | vanished: the shim was killed, or the machine stopped |
//!
//! A vanished run is never resumed in its folder. What is left of its processes is killed
//! ([`orphans`]); then it is told as `interrupted`, or, if the tool is `repeatable`, done again in a
//! new folder. The gap that no program can close is between 3 and the first instruction of the
//! command: a machine that stops there leaves a run that counts as started although it was not. It
//! is told, never hidden.
//!
//! Process ids are used for signals only, and never without start time and boot id ([`identity`]).
//!
//! # Decisions
//!
//! - Both output streams go to one file, opened for appending, in the order of arrival. Two files
//!   would lose the order, and anything that could mark the streams would be a pipe with a reader
//!   whose death kills the command or loses what was in it.
//! - Of very much output the first and the last part are kept on the disk (`output`).
//! - A run ends when the command itself has ended. Processes that it left behind are then ended too
//!   (SIGTERM, after the grace SIGKILL) and counted: a tool that starts a service should ask the
//!   machine's service manager to do it.
//! - A signal to the shim that nobody requested through the folder (the machine shuts down, a
//!   service manager stops the whole group) stops the command and counts as an interruption, not as
//!   a cancellation. Under systemd a service needs `KillMode=process` for its commands to survive a
//!   restart of the server.
//! - What a command may use ([`limits`]) is told apart from how it failed: a limit that ended it is named.
//! - What it inherits of the server's environment is a setting ([`environment`]).

pub mod artifacts;
pub mod environment;
pub mod expand;
pub mod folder;
pub mod follow;
pub mod identity;
mod ladder;
pub mod launch;
pub mod limits;
mod log_file;
pub mod orphans;
pub mod outcome;
mod output;
pub mod progress;
mod run;
pub mod runs;
pub mod shim;
pub mod sweep;
pub mod tool;
mod tree;

pub use environment::Inherited;
pub use expand::{ArgumentError, Invocation, as_object, expand};
pub use folder::{End, RunFolder, RunState, Spec, Started, Status, StopCause};
pub use follow::{Followed, Follower};
pub use identity::ProcessIdentity;
pub use launch::Launcher;
pub use progress::{ProgressPattern, ProgressReader, ProgressUpdate};
pub use runs::Runs;
pub use tool::{Defaults, tool};
