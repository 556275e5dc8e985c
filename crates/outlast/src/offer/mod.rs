//! What a server offers beside tools, and how the offer changes while it runs.

mod catalog;
mod contents;
mod messages;
mod prompt;
mod resource;
pub(crate) mod texts;

pub use catalog::Catalog;
pub(crate) use catalog::Defaults;
pub use contents::{IntoContents, Json};
pub use messages::{IntoMessages, Message, Messages};
pub use prompt::{IntoPrompt, Prompt};
pub use resource::{IntoResource, Resource};
