//! The `#[tool]` attribute of `outlast`. Its documentation stands there, where it can be compiled.
//!
//! The macro is thin: it emits calls to public functions of `outlast` that could be written by hand,
//! and decides nothing that a function could decide. What it refuses, it refuses at the place of the
//! mistake and says what to write instead.

mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;

/// Makes a tool of a function. See `outlast::tool`.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::tool(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
