//! The application's own state, as an argument of a handler.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use outlast_engine::Cx;
use outlast_mcp::offer::RequestCx;

use crate::{Error, Result};

/// A value that was given to [`crate::Server::state`], the same in every call, after a restart and
/// on every thread. Cheap to clone.
///
/// A server whose tools take a state that it was not given does not start.
///
/// ```
/// use outlast::prelude::*;
///
/// struct Greeting {
///     word: String,
/// }
///
/// /// Greets.
/// #[tool]
/// async fn greet(name: String, greeting: State<Greeting>) -> String {
///     format!("{}, {name}!", greeting.word)
/// }
///
/// let server = Server::new("greeter").state(Greeting { word: "Hello".into() }).tool(greet);
/// # let _ = server;
/// ```
pub struct State<T>(pub Arc<T>);

impl<T: Send + Sync + 'static> State<T> {
    /// The state of this type.
    ///
    /// # Errors
    /// The server was given none.
    pub fn of(cx: &Cx) -> Result<Self> {
        cx.state().map(Self).ok_or_else(missing::<T>)
    }

    /// The state of this type, for a prompt or a resource.
    ///
    /// # Errors
    /// The server was given none.
    pub fn of_request(cx: &RequestCx) -> Result<Self> {
        cx.state().map(Self).ok_or_else(missing::<T>)
    }
}

fn missing<T>() -> Error {
    Error::protocol(
        -32603,
        format!(
            "the server has no state of type {}",
            std::any::type_name::<T>()
        ),
    )
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<Arc<T>> for State<T> {
    /// For tests that call a handler directly.
    fn from(value: Arc<T>) -> Self {
        Self(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
