//! Guides, compiled with the code so that they cannot rot.

#[doc = include_str!("docs/steps.md")]
pub mod steps {}

#[doc = include_str!("docs/relations.md")]
pub mod relations {}

#[doc = include_str!("docs/undo.md")]
pub mod undo {}

#[doc = include_str!("docs/failures.md")]
pub mod failures {}

#[doc = include_str!("docs/order.md")]
pub mod order {}

#[doc = include_str!("docs/schedules.md")]
pub mod schedules {}

/// The examples of the guide for those who move a server over, which stands outside of the crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/moving.md")]
struct Moving;
