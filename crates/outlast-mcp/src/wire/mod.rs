//! Neutral records in the words of each era.
//!
//! A task, a tool, a prompt, a resource and a result are kept once; here they are written as 2025-11-25 and 2026-07-28
//! want them. Nothing else decides which members an era's objects have.

mod content;
mod implementation;
mod object;
mod prompt;
mod resource;
mod result;
mod task;
mod tool;

pub(crate) use implementation::implementation;
pub(crate) use object::{Number, Object};
pub(crate) use prompt::{prompt, prompt_messages};
pub(crate) use resource::{resource, resource_contents, resource_template};
pub(crate) use result::{code_of, outcome_members, response, tool_result};
pub(crate) use task::{
    annotations, detailed_task, figures, input_request, legacy_members, modern_members,
    task_document,
};
pub(crate) use tool::tool;
