//! Guides, compiled with the code so that they cannot rot.

#[doc = include_str!("docs/steps.md")]
pub mod steps {}

#[doc = include_str!("docs/relations.md")]
pub mod relations {}
