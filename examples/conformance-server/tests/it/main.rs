//! What a server does as a process: started by hand, behind `--stdio`, stopped, killed, rebuilt.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bridge;
mod inline;
mod process;
mod relayed;
mod rig;
