//! What becomes of a function with `#[tool]`: itself, under another name, and a function of its own
//! name that returns the tool.
//!
//! The name must stay a *function* in the value namespace and nothing else: a unit struct or a
//! constant of that name would forbid every `let` and every parameter of the same name in its scope,
//! and anything in the type namespace would collide with a module named like its tool.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Ident, ItemFn, Lit, LitStr, Meta, Path, Result};

use crate::options::{Options, TaskWord};
use crate::signature::{self, Argument, Kind, Parameter, Signature};

pub(crate) fn tool(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(attribute)?;
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        syn::Error::new(
            error.span(),
            "#[tool] stands on a function: `async fn name(argument: Type, cx: Cx) -> Result<Value>`",
        )
    })?;
    let signature = signature::read(&mut function, Kind::Tool)?;
    let krate = match &options.krate {
        Some(path) => path.clone(),
        None => syn::parse_quote!(::outlast),
    };
    Ok(definition(&krate, &options, &signature, function))
}

fn definition(
    krate: &Path,
    options: &Options,
    signature: &Signature,
    mut function: ItemFn,
) -> TokenStream {
    let name = function.sig.ident.clone();
    let plain_name = name.unraw().to_string();
    let called = Ident::new(&format!("call_{plain_name}"), name.span());
    let visibility = function.vis.clone();
    let documentation: Vec<Attribute> = with_path(&function.attrs, &["doc", "deprecated"]);
    let conditions: Vec<Attribute> = with_path(&function.attrs, &["cfg", "cfg_attr"]);

    let tool_name = match &options.name {
        Some(name) => name.value(),
        None => plain_name.clone(),
    };
    let arguments = arguments(krate, signature);
    let handler = handler(krate, signature, &called, &tool_name);
    let settings = settings(krate, options, signature, &function.attrs);
    let body_doc = format!(" The function behind the tool `{tool_name}`, to be called directly.");
    if documentation.is_empty() {
        function.attrs.push(syn::parse_quote!(#[doc = #body_doc]));
    }
    function.sig.ident = called;
    let tool_doc = documentation.is_empty().then(|| {
        let text = format!(" The tool `{tool_name}`.");
        quote!(#[doc = #text])
    });

    quote! {
        #function

        #(#conditions)*
        #(#documentation)*
        #tool_doc
        #visibility fn #name() -> #krate::Tool {
            #arguments
            #handler #settings
        }
    }
}

/// The struct that the call's arguments are read into.
pub(crate) fn arguments(krate: &Path, signature: &Signature) -> TokenStream {
    let serde = format!("{}::__private::serde", path_text(krate));
    let schemars = format!("{}::__private::schemars", path_text(krate));
    let fields = each_argument(signature).map(|argument| {
        let Argument {
            name,
            ty,
            attributes,
            default,
            complete: _,
        } = argument;
        let default = default.as_ref().map(|_| {
            let function = default_function(name).to_string();
            quote!(#[serde(default = #function)])
        });
        quote!(#(#attributes)* #default #name: #ty)
    });
    let defaults = each_argument(signature).filter_map(|argument| {
        let value = default_expression(argument.default.as_ref()?, &argument.ty);
        let (function, ty) = (default_function(&argument.name), &argument.ty);
        Some(quote!(fn #function() -> #ty { #value }))
    });
    // Before the derives, whose complaints are many and name neither the argument nor the cure.
    let fit = each_argument(signature).map(|argument| {
        let ty = &argument.ty;
        quote_spanned!(ty.span()=> #krate::__private::argument::<#ty>();)
    });
    quote! {
        #(#fit)*
        #(#defaults)*

        #[derive(#krate::__private::serde::Deserialize, #krate::__private::schemars::JsonSchema)]
        #[serde(crate = #serde, deny_unknown_fields)]
        #[schemars(crate = #schemars)]
        struct __Arguments {
            #(#fields,)*
        }
    }
}

/// `#[default = "text"]` may stand on a `String`.
fn default_expression(value: &Expr, ty: &syn::Type) -> TokenStream {
    match value {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => {
            quote!(<#ty as ::core::convert::From<&'static str>>::from(#value))
        }
        other => other.to_token_stream(),
    }
}

fn default_function(name: &Ident) -> Ident {
    format_ident!("__default_{}", name.unraw())
}

/// `Tool::typed(…)`: the arguments taken apart, the function called, its value turned into a result.
fn handler(krate: &Path, signature: &Signature, called: &Ident, name: &str) -> TokenStream {
    let names: Vec<&Ident> = each_argument(signature)
        .map(|argument| &argument.name)
        .collect();
    let values = signature
        .parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Argument(argument) => argument.name.to_token_stream(),
            Parameter::Context => quote!(::core::clone::Clone::clone(&__cx)),
            Parameter::State(ty) => quote!(<#ty>::of(&__cx)?),
        });
    // The conversions point at the return type: that is where a type that has none is written.
    let span = signature.returns.span;
    let of_value = quote_spanned!(span=> #krate::reply::of(__value));
    let reply = if signature.returns.fallible {
        let convert = quote_spanned!(span=> __error.error());
        quote! {
            match __returned {
                ::core::result::Result::Ok(__value) => #of_value,
                ::core::result::Result::Err(__error) => {
                    use #krate::__private::{ByDisplay as _, ByInto as _};
                    let __error = #krate::__private::Returned::new(__error);
                    ::core::result::Result::Err(#convert)
                }
            }
        }
    } else {
        quote! {{
            let __value = __returned;
            #of_value
        }}
    };
    if signature.blocking {
        quote! {
            #krate::Tool::blocking(#name, |__arguments: __Arguments, __cx: #krate::BlockingCx| {
                let __Arguments { #(#names),* } = __arguments;
                let __returned = #called(#(#values),*);
                #reply
            })
        }
    } else {
        quote! {
            #krate::Tool::typed(#name, |__arguments: __Arguments, __cx: #krate::Cx| async move {
                let __Arguments { #(#names),* } = __arguments;
                let __returned = #called(#(#values),*).await;
                #reply
            })
        }
    }
}

/// The builder calls after it.
fn settings(
    krate: &Path,
    options: &Options,
    signature: &Signature,
    attributes: &[Attribute],
) -> TokenStream {
    let description = match &options.description {
        Some(text) => Some(text.value()),
        None => documentation_text(attributes),
    };
    let task = options.task.map(|word| match word {
        TaskWord::Forbidden => quote!(Forbidden),
        TaskWord::Optional => quote!(Optional),
        TaskWord::Required => quote!(Required),
    });
    let mut calls = TokenStream::new();
    let mut text = |method: &str, value: Option<String>| {
        if let Some(value) = value {
            let method = Ident::new(method, Span::call_site());
            calls.extend(quote!(.#method(#value)));
        }
    };
    text("description", description);
    text("title", options.title.as_ref().map(LitStr::value));
    text("icon", options.icon.as_ref().map(LitStr::value));
    for tag in &options.tags {
        text("tag", Some(tag.value()));
    }
    text("version", options.version.as_ref().map(LitStr::value));
    for accepted in &options.accepts {
        text("accepts", Some(accepted.value()));
    }
    if let Some(task) = task {
        calls.extend(quote!(.task(#krate::TaskSupport::#task)));
    }
    let durations = [
        ("retention", options.retention_ms),
        ("timeout", options.timeout_ms),
        ("idle_timeout", options.idle_timeout_ms),
        ("queue_timeout", options.queue_timeout_ms),
        ("no_worker_timeout", options.no_worker_timeout_ms),
        ("max_age", options.max_age_ms),
    ];
    for (setting, ms) in durations {
        if let Some(ms) = ms {
            let method = Ident::new(setting, Span::call_site());
            calls.extend(quote!(.#method(::core::time::Duration::from_millis(#ms))));
        }
    }
    if let Some(retries) = &options.retries {
        calls.extend(quote!(.retries(#retries)));
    }
    if let Some(crashes) = &options.max_crashes {
        calls.extend(quote!(.max_crashes(#crashes)));
    }
    if let Some(questions) = &options.ask_first {
        calls.extend(quote!(.ask_first(#questions)));
    }
    if options.confirm {
        calls.extend(quote!(.confirm()));
    }
    calls.extend(options.order.call(krate));
    for (key, value) in &options.labels {
        calls.extend(quote!(.label(#key, #value)));
    }
    for label in &options.requires {
        calls.extend(quote!(.requires(#label)));
    }
    calls.extend(options.schedule.call(krate));
    match options.detach_after_ms {
        None => {}
        Some(None) => calls.extend(quote!(.detach_after(#krate::DetachAfter::Never))),
        Some(Some(ms)) => calls.extend(quote! {
            .detach_after(#krate::DetachAfter::After(::core::time::Duration::from_millis(#ms)))
        }),
    }
    if let Some(detach) = options.detach {
        calls.extend(quote!(.detach(#detach)));
    }
    if let Some(ms) = options.heartbeat_ms {
        calls.extend(quote!(.heartbeat(::core::time::Duration::from_millis(#ms))));
    }
    if options.detach_on_disconnect {
        calls.extend(quote!(.on_disconnect(#krate::OnDisconnect::Detach)));
    }
    let hints = [
        ("repeatable", options.repeatable),
        ("read_only", options.read_only),
        ("destructive", options.destructive),
        ("idempotent", options.idempotent),
        ("open_world", options.open_world),
    ];
    for (hint, value) in hints {
        if let Some(value) = value {
            let method = Ident::new(hint, Span::call_site());
            calls.extend(quote!(.#method(#value)));
        }
    }
    for parameter in &signature.parameters {
        if let Parameter::State(ty) = parameter {
            calls.extend(quote!(.needs::<#ty>()));
        }
    }
    calls
}

pub(crate) fn each_argument(signature: &Signature) -> impl Iterator<Item = &Argument> {
    signature
        .parameters
        .iter()
        .filter_map(|parameter| match parameter {
            Parameter::Argument(argument) => Some(&**argument),
            Parameter::Context | Parameter::State(_) => None,
        })
}

/// Clones of the attributes with one of these names.
pub(crate) fn with_path(attributes: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    let wanted = |attribute: &&Attribute| names.iter().any(|name| attribute.path().is_ident(name));
    attributes.iter().filter(wanted).cloned().collect()
}

/// The doc comment as one text, each line without the space that follows `///`.
pub(crate) fn documentation_text(attributes: &[Attribute]) -> Option<String> {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(literal) = &pair.value else {
            continue;
        };
        let Lit::Str(line) = &literal.lit else {
            continue;
        };
        if pair.path.is_ident("doc") {
            let line = line.value();
            lines.push(
                line.strip_prefix(' ')
                    .unwrap_or(&line)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// A path as `serde(crate = "…")` wants it.
fn path_text(path: &Path) -> String {
    let mut text = String::new();
    if path.leading_colon.is_some() {
        text.push_str("::");
    }
    let parts: Vec<String> = path
        .segments
        .iter()
        .map(|part| part.ident.to_string())
        .collect();
    text + &parts.join("::")
}
