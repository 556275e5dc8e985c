//! What becomes of a function with `#[prompt]` or `#[resource]`: the same as with `#[tool]`, itself
//! under another name, and a function of its own name that returns what a server offers.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, ItemFn, LitStr, Path, Result, Token};

use crate::expand::{arguments, documentation_text, each_argument, with_path};
use crate::options::{milliseconds, strings};
use crate::signature::{self, Kind, Parameter, Signature};

pub(crate) fn prompt(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut options = Options::default();
    syn::meta::parser(|meta| options.option(&meta, PROMPT)).parse2(attribute)?;
    let mut function = function(
        item,
        "#[prompt] stands on a function: `async fn name(argument: Type) -> String`",
    )?;
    let signature = signature::read(&mut function, Kind::Prompt)?;
    Ok(definition(&options, &signature, function, None))
}

pub(crate) fn resource(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut options = Options::default();
    let parser = |input: ParseStream<'_>| -> Result<LitStr> {
        let uri: LitStr = input.parse().map_err(|error| {
            Error::new(
                error.span(),
                "the URI comes first: #[resource(\"config://{name}\")]",
            )
        })?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
            let rest: TokenStream = input.parse()?;
            syn::meta::parser(|meta| options.option(&meta, RESOURCE)).parse2(rest)?;
        }
        Ok(uri)
    };
    let uri = parser.parse2(attribute)?;
    let mut function = function(
        item,
        "#[resource] stands on a function: `async fn name(variable: Type) -> String`",
    )?;
    let signature = signature::read(&mut function, Kind::Resource)?;
    check_uri(&uri, &signature)?;
    Ok(definition(&options, &signature, function, Some(&uri)))
}

/// What may be written, for error messages.
const PROMPT: &[&str] = &["name", "title", "description", "icon", "tags", "crate"];
const RESOURCE: &[&str] = &[
    "name",
    "title",
    "description",
    "icon",
    "tags",
    "mime_type",
    "cache",
    "crate",
];

#[derive(Default)]
struct Options {
    seen: Vec<String>,
    texts: Vec<(&'static str, LitStr)>,
    tags: Vec<LitStr>,
    name: Option<LitStr>,
    cache_ms: Option<u64>,
    krate: Option<Path>,
}

impl Options {
    fn option(&mut self, meta: &ParseNestedMeta<'_>, allowed: &[&'static str]) -> Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string);
        let word = word.unwrap_or_default();
        let Some(known) = allowed.iter().find(|known| **known == word) else {
            let allowed = allowed.join(", ");
            return Err(meta.error(format!("unknown option; allowed: {allowed}")));
        };
        if self.seen.contains(&word) {
            return Err(meta.error(format!("`{word}` is given twice")));
        }
        self.seen.push(word);
        match *known {
            "crate" => self.krate = Some(meta.value()?.call(Path::parse_mod_style)?),
            "name" => self.name = Some(meta.value()?.parse()?),
            "tags" => self.tags = strings(meta)?,
            "cache" => self.cache_ms = Some(milliseconds(meta)?),
            text => self.texts.push((text, meta.value()?.parse()?)),
        }
        Ok(())
    }
}

fn function(item: TokenStream, usage: &str) -> Result<ItemFn> {
    syn::parse2(item).map_err(|error| Error::new(error.span(), usage))
}

/// The variables of the URI are the arguments of the function. What else may be wrong with a URI is
/// said when the server starts.
fn check_uri(uri: &LitStr, signature: &Signature) -> Result<()> {
    let renamed = |attribute: &Attribute| attribute.path().is_ident("serde");
    if each_argument(signature).any(|argument| argument.attributes.iter().any(renamed)) {
        // Its name in the URI may be another one; the server looks at that when it starts.
        return Ok(());
    }
    let text = uri.value();
    let expressions = text
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    let names: Vec<&str> = expressions
        .flat_map(|inner| inner.trim_start_matches(['+', '?', '&']).split(','))
        .collect();
    for argument in each_argument(signature) {
        let name = argument.name.unraw().to_string();
        if !names.contains(&&*name) {
            return Err(Error::new(
                argument.name.span(),
                format!(
                    "the URI has no variable {{{name}}}; write it there, or {{?{name}}} if it may be left out"
                ),
            ));
        }
    }
    let taken =
        |name: &&str| each_argument(signature).any(|argument| argument.name.unraw() == name);
    match names.into_iter().find(|name| !taken(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            uri.span(),
            format!(
                "the function does not take the variable `{name}` of the URI; add a parameter of that name"
            ),
        )),
    }
}

fn definition(
    options: &Options,
    signature: &Signature,
    mut function: ItemFn,
    uri: Option<&LitStr>,
) -> TokenStream {
    let krate = match &options.krate {
        Some(path) => path.clone(),
        None => syn::parse_quote!(::outlast),
    };
    let name = function.sig.ident.clone();
    let plain_name = name.unraw().to_string();
    let called = Ident::new(&format!("call_{plain_name}"), name.span());
    let visibility = function.vis.clone();
    let documentation: Vec<Attribute> = with_path(&function.attrs, &["doc", "deprecated"]);
    let conditions: Vec<Attribute> = with_path(&function.attrs, &["cfg", "cfg_attr"]);
    let offered = match &options.name {
        Some(name) => name.value(),
        None => plain_name,
    };
    let (kind, new, pass) = match uri {
        None => (quote!(Prompt), quote!(#offered), quote!(messages)),
        Some(uri) => (quote!(Resource), quote!(#uri, #offered), quote!(contents)),
    };
    let arguments = arguments(&krate, signature);
    let run = run(&krate, signature, &called, &pass);
    let settings = settings(options, signature, &function.attrs);
    if documentation.is_empty() {
        let doc = format!(" The function behind `{offered}`, to be called directly.");
        function.attrs.push(syn::parse_quote!(#[doc = #doc]));
    }
    function.sig.ident = called;
    let doc = documentation.is_empty().then(|| {
        let text = format!(" `{offered}`, for a server.");
        quote!(#[doc = #text])
    });
    quote! {
        #function

        #(#conditions)*
        #(#documentation)*
        #doc
        #visibility fn #name() -> #krate::#kind {
            #arguments
            #krate::#kind::typed(#new, #run) #settings
        }
    }
}

/// The closure: the arguments taken apart, the function called, its value passed on.
fn run(krate: &Path, signature: &Signature, called: &Ident, pass: &TokenStream) -> TokenStream {
    let names: Vec<&Ident> = each_argument(signature)
        .map(|argument| &argument.name)
        .collect();
    let values = signature
        .parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Argument(argument) => argument.name.to_token_stream(),
            Parameter::Context => quote!(::core::clone::Clone::clone(&__cx)),
            Parameter::State(ty) => quote!(<#ty>::of_request(&__cx)?),
        });
    // Taken before the call: what a blocking function gets must not fail on its thread.
    let taken: Vec<Ident> = (0..signature.parameters.len())
        .map(|index| Ident::new(&format!("__value{index}"), Span::call_site()))
        .collect();
    let returned = if signature.blocking {
        quote!(#krate::__private::on_thread(move || #called(#(#taken),*)).await)
    } else {
        quote!(#called(#(#taken),*).await)
    };
    // The conversions point at the return type: that is where a type that has none is written.
    let span = signature.returns.span;
    let passed = quote_spanned!(span=> #krate::__private::#pass(__value));
    let reply = if signature.returns.fallible {
        let convert = quote_spanned!(span=> __error.error());
        quote! {
            match __returned {
                ::core::result::Result::Ok(__value) => #passed,
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
            #passed
        }}
    };
    quote! {
        |__arguments: __Arguments, __cx: #krate::RequestCx| async move {
            let __Arguments { #(#names),* } = __arguments;
            #(let #taken = #values;)*
            let __returned = #returned;
            #reply
        }
    }
}

/// The builder calls after it.
fn settings(options: &Options, signature: &Signature, attributes: &[Attribute]) -> TokenStream {
    let mut calls = TokenStream::new();
    let described = options.texts.iter().any(|(word, _)| *word == "description");
    if let Some(text) = documentation_text(attributes).filter(|_| !described) {
        calls.extend(quote!(.description(#text)));
    }
    for (word, text) in &options.texts {
        let method = Ident::new(word, text.span());
        let text = text.value();
        calls.extend(quote!(.#method(#text)));
    }
    for tag in &options.tags {
        calls.extend(quote!(.tag(#tag)));
    }
    if let Some(ms) = options.cache_ms {
        let krate: Path = match &options.krate {
            Some(path) => path.clone(),
            None => syn::parse_quote!(::outlast),
        };
        calls.extend(quote! {
            .cache(::core::time::Duration::from_millis(#ms), #krate::CacheScope::Private)
        });
    }
    for parameter in &signature.parameters {
        match parameter {
            Parameter::State(ty) => calls.extend(quote!(.needs::<#ty>())),
            Parameter::Argument(argument) => {
                if let Some(suggest) = &argument.complete {
                    let name = argument.name.unraw().to_string();
                    calls.extend(quote!(.complete(#name, #suggest)));
                }
            }
            Parameter::Context => {}
        }
    }
    calls
}
