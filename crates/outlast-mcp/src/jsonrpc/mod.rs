//! JSON-RPC 2.0 as MCP uses it: the envelope, its ids and its errors.
//!
//! A message is read without being copied: every member is a slice of the bytes that came, checked
//! to be JSON and left unparsed until a rule asks for it. A message is written the same way, its
//! parts spliced around each other. The same types serve the server and the client.

mod error;
mod id;
mod message;
mod write;

pub use error::{RpcError, code};
pub use id::RequestId;
pub use message::{MAX_DEPTH, Malformed, Message, Notification, Request, Response};
pub use write::{error_response, notification, one_line, request, response};

pub(crate) use id::is_id;
pub(crate) use message::{batch, outer_id, owned, params_of, present, string, too_deep};
pub(crate) use write::{batch_response, begin_response, end_response};
