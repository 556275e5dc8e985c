//! The client, against scripted servers and against servers nobody here wrote.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod foreign;
mod scripted;
mod wire;
