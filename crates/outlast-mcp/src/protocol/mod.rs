//! What both sides of the protocol must agree on: versions, names, capabilities and `_meta`.

pub mod names;

mod capabilities;
mod meta;
mod params;
pub(crate) mod usual;
mod version;

pub use capabilities::Capabilities;
pub use meta::{ModernMeta, progress_token};
pub use params::Params;
pub use version::Version;

pub(crate) use params::{object, object_or_default};
