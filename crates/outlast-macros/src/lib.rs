//! The attributes `#[tool]`, `#[prompt]` and `#[resource]` of `outlast`. Their documentation stands there, where it can be compiled.
//!
//! The macros are thin: they emit calls to public functions of `outlast` that could be written by hand,
//! and decide nothing that a function could decide. What they refuse, they refuse at the place of the
//! mistake and say what to write instead.

mod expand;
mod offered;
mod options;
mod order;
mod schedule;
mod signature;

use proc_macro::TokenStream;

/// Makes a tool of a function. See `outlast::tool`.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::tool(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes a prompt of a function. See `outlast::prompt`.
#[proc_macro_attribute]
pub fn prompt(attribute: TokenStream, item: TokenStream) -> TokenStream {
    offered::prompt(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes a resource, or a template, of a function. See `outlast::resource`.
#[proc_macro_attribute]
pub fn resource(attribute: TokenStream, item: TokenStream) -> TokenStream {
    offered::resource(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
