//! Streamable HTTP, both eras, as a tower service on one path.
//!
//! `POST` carries one message. `GET` and `DELETE` belong to sessions of the older era. Nothing of a
//! request is trusted before the guard has looked at where it comes from.

mod body;
mod get;
mod guard;
mod headers;
mod param_headers;
mod post;
mod read;
mod service;

pub use body::Body;
pub use guard::Guard;
pub use service::{HttpFuture, HttpService, NeedsScope};

pub(crate) use param_headers::ParamHeaders;
