//! What the function of a resource may return.

use outlast_mcp::offer::ResourceContents;
use serde::Serialize;

use crate::content::Bytes;
use crate::{Error, Result};

/// A value that is read as JSON.
///
/// ```
/// use outlast::{Json, resource};
///
/// #[derive(serde::Serialize)]
/// struct Config {
///     debug: bool,
/// }
///
/// /// How the application is configured.
/// #[resource("config://app")]
/// async fn config() -> Json<Config> {
///     Json(Config { debug: false })
/// }
/// # let _ = config;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Json<T>(pub T);

/// What the function of a resource may return: text, bytes (`Vec<u8>`, or [`Bytes`] with a type),
/// [`Json`], [`ResourceContents`] or several of them; and an `Option` of any of these, whose `None`
/// tells the client that there is no such resource.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the contents of a resource",
    label = "no contents",
    note = "return text, `Vec<u8>`, `Bytes`, `Json(value)`, `ResourceContents` or an `Option` of these"
)]
pub trait IntoContents {
    /// The contents. `None` if there is no such resource.
    ///
    /// # Errors
    /// The value has no JSON form.
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>>;
}

impl IntoContents for Vec<ResourceContents> {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        Ok(Some(self))
    }
}

impl IntoContents for ResourceContents {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        Ok(Some(vec![self]))
    }
}

impl IntoContents for String {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        ResourceContents::text(self).into_contents()
    }
}

impl IntoContents for &'static str {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        ResourceContents::text(self).into_contents()
    }
}

impl IntoContents for Vec<u8> {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        ResourceContents::blob(self).into_contents()
    }
}

impl IntoContents for Bytes {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        let (mime, data) = self.into_parts();
        ResourceContents::blob(data).mime_type(mime).into_contents()
    }
}

impl<T: Serialize> IntoContents for Json<T> {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        let text = serde_json::to_string(&self.0).map_err(|error| {
            Error::protocol(-32603, format!("the resource has no JSON form: {error}"))
        })?;
        ResourceContents::text(text)
            .mime_type("application/json")
            .into_contents()
    }
}

impl<T: IntoContents> IntoContents for Option<T> {
    fn into_contents(self) -> Result<Option<Vec<ResourceContents>>> {
        self.map_or(Ok(None), T::into_contents)
    }
}
