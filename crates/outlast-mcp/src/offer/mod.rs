//! What a server offers: tools, prompts, resources and resource templates, and how the set changes
//! while it is served.
//!
//! A [`Catalog`] is one immutable snapshot behind a cheap handle. A request takes the snapshot once
//! and never sees half of a change; a change makes the next snapshot, and whoever follows the
//! catalogue is told which of the three lists it concerned. Reading costs one shared lock and one
//! reference count, however often the set changes.

mod catalog;
mod completion;
mod contents;
mod pages;
mod prompt;
mod request;
mod resource;
mod tasks;
mod template;
mod tools;

pub use catalog::{Catalog, Changes};
pub use completion::{CompletionRequest, MOST_VALUES};
pub(crate) use contents::Body as ContentsBody;
pub use contents::{CacheScope, Caching, ResourceContents};
pub use prompt::{Prompt, PromptArgument, PromptHandler, PromptMessages};
pub use request::RequestCx;
pub use resource::{ReadRequest, Resource, ResourceHandler, ResourceTemplate};
pub use template::UriTemplate;

pub(crate) use catalog::{Revisions, Snapshot, Updated};
pub(crate) use pages::{Pages, unknown_cursor};
pub(crate) use request::run;
pub(crate) use tasks::{Uris, is_told_by, task_of, uri_of_artifact, uri_of_artifacts};
pub(crate) use tools::Audience;
