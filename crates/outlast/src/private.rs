//! What the code written by `#[tool]` needs. Not for use by hand, and no promise is made about it.

use std::fmt::Display;

use crate::Error;

pub use schemars;
pub use serde;

/// What an argument of a tool must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a tool",
    label = "JSON cannot be read into this type",
    note = "put `#[derive(serde::Deserialize, schemars::JsonSchema)]` on the type, or take one that has \
            both; what comes from the server and not from the caller is taken as `State<{Self}>`"
)]
pub trait Argument {}

#[diagnostic::do_not_recommend]
impl<T: serde::de::DeserializeOwned + schemars::JsonSchema> Argument for T {}

/// Does nothing, for arguments alone.
pub fn argument<T: Argument>() {}

/// Passes on what a prompt returned.
///
/// # Errors
/// None.
pub fn messages<T: crate::IntoMessages>(value: T) -> crate::Result<T> {
    Ok(value)
}

/// Passes on what a resource returned.
///
/// # Errors
/// None.
pub fn contents<T: crate::IntoContents>(value: T) -> crate::Result<T> {
    Ok(value)
}

/// Runs a blocking function on a thread of its own.
pub async fn on_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// An error that a handler returned, of whatever type.
///
/// A type that converts into [`Error`] does so; any other that can be displayed becomes a tool error
/// with its text (`String`, `Box<dyn Error>`, `anyhow::Error`). The choice is made by method
/// resolution: `returned.error()` is [`ByInto`], which takes the value, where that is implemented,
/// and otherwise [`ByDisplay`], which takes a reference.
pub struct Returned<E>(std::cell::Cell<Option<E>>);

impl<E> Returned<E> {
    /// Takes the error.
    pub fn new(error: E) -> Self {
        Self(std::cell::Cell::new(Some(error)))
    }

    fn take(&self) -> E {
        self.0.take().expect("converted once")
    }
}

/// First choice.
pub trait ByInto {
    /// The conversion.
    fn error(self) -> Error;
}

impl<E: Into<Error>> ByInto for Returned<E> {
    fn error(self) -> Error {
        self.take().into()
    }
}

/// Second choice.
pub trait ByDisplay {
    /// The conversion.
    fn error(&self) -> Error;
}

impl<E: Display> ByDisplay for Returned<E> {
    fn error(&self) -> Error {
        // The alternate form of some error types holds their causes too.
        Error::tool(format!("{:#}", self.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind_where_they_have_one() {
        let ours = Returned::new(Error::protocol(-7, "x")).error();
        assert!(matches!(
            ours.kind(),
            outlast_engine::ErrorKind::Protocol { code: -7, .. }
        ));
        let foreign = Returned::new(std::io::Error::other("disk")).error();
        assert_eq!(foreign.to_string(), "disk");
        let text = Returned::new("plain".to_owned()).error();
        assert_eq!(text.to_string(), "plain");
        let boxed: Box<dyn std::error::Error + Send + Sync> = "boxed".into();
        assert_eq!(Returned::new(boxed).error().to_string(), "boxed");
    }
}
