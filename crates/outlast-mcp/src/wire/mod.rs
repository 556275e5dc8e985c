//! Neutral records in the words of each era.
//!
//! A task, a tool and a result are kept once; here they are written as 2025-11-25 and 2026-07-28
//! want them. Nothing else decides which members an era's objects have.

mod object;
mod result;
mod task;
mod tool;

pub(crate) use object::{Number, Object};
pub(crate) use result::{response, tool_result};
pub(crate) use task::{annotations, detailed_task, input_request, legacy_members, modern_members};
pub(crate) use tool::tool;
