//! Secret arguments: sealed before they are stored, and hidden wherever they come up again.
//!
//! A field of a tool's arguments is secret if its schema says `writeOnly` or `format: password`. When a
//! call becomes a task its value is sealed (ChaCha20-Poly1305 under a key that is not in the store, bound
//! to the task's id) and dots take its place, so that every surface which shows arguments shows dots
//! without knowing why. The handler gets the value. Whatever a run with secrets then tells is searched
//! for them: log, progress, questions and the outcome have dots instead, and a journal entry that holds
//! one is sealed as a whole, because a replay needs it as it was. Nothing of this costs a run without
//! secrets anything.

mod fields;
mod mask;
mod undotted;
mod vault;

pub(crate) use fields::Fields;
pub use mask::Mask;
pub(crate) use undotted::Undotted;
pub(crate) use vault::{Opened, Vault};

/// What is shown in the place of a secret.
pub const DOTS: &str = "•••";
