//! The options of `#[tool(…)]` that say when its tasks run, and the calls they become.

use outlast_core::limit::Rate;
use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{LitInt, LitStr, Path, Result, Token};

use crate::options::{flag, milliseconds};

/// The parsed options; `None` where nothing is said.
#[derive(Default)]
pub(crate) struct Order {
    priority: Option<(bool, LitInt)>,
    max_running: Option<LitInt>,
    max_running_per_key: Option<LitInt>,
    limit_key: Option<LitStr>,
    max_running_per_owner: Option<LitInt>,
    hold_while_suspended: bool,
    rate: Option<LitStr>,
    rate_per_owner: Option<LitStr>,
    max_queued: Option<LitInt>,
    max_queued_per_owner: Option<LitInt>,
    same: Option<LitStr>,
    same_key: Option<LitStr>,
    debounce_ms: Option<u64>,
    key_window_ms: Option<u64>,
}

impl Order {
    /// Reads an option. `false` if it is none of these.
    pub(crate) fn option(&mut self, word: &str, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        match word {
            "priority" => self.priority = Some(priority(meta)?),
            "max_running" => self.max_running = Some(meta.value()?.parse()?),
            "max_running_per_key" => self.max_running_per_key = Some(meta.value()?.parse()?),
            "limit_key" => self.limit_key = Some(meta.value()?.parse()?),
            "max_running_per_owner" => self.max_running_per_owner = Some(meta.value()?.parse()?),
            "hold_while_suspended" => self.hold_while_suspended = flag(meta)?,
            "rate" => self.rate = Some(rate(meta)?),
            "rate_per_owner" => self.rate_per_owner = Some(rate(meta)?),
            "max_queued" => self.max_queued = Some(meta.value()?.parse()?),
            "max_queued_per_owner" => self.max_queued_per_owner = Some(meta.value()?.parse()?),
            "same" => self.same = Some(same(meta)?),
            "same_key" => self.same_key = Some(meta.value()?.parse()?),
            "debounce" => self.debounce_ms = Some(milliseconds(meta)?),
            "key_window" => self.key_window_ms = Some(milliseconds(meta)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What cannot stand together.
    pub(crate) fn check_together(&self) -> Result<()> {
        if let (Some(max), None) = (&self.max_running_per_key, &self.limit_key) {
            return Err(syn::Error::new(
                max.span(),
                "`max_running_per_key` needs the argument that is the key: `limit_key = \"customer\"`",
            ));
        }
        if let (Some(key), None, None) = (&self.same_key, &self.same, self.debounce_ms) {
            return Err(syn::Error::new(
                key.span(),
                "`same_key` needs `same = \"join\"`, `same = \"replace\"` or `debounce = \"10s\"`",
            ));
        }
        if let (Some(same), Some(_)) = (&self.same, self.debounce_ms) {
            return Err(syn::Error::new(
                same.span(),
                "`same` and `debounce` are two answers to one question; say one of them",
            ));
        }
        Ok(())
    }

    /// `.order(…)`, if anything was said.
    pub(crate) fn call(&self, krate: &Path) -> TokenStream {
        let mut calls = TokenStream::new();
        if let Some((negative, priority)) = &self.priority {
            let sign = negative.then(|| quote!(-));
            calls.extend(quote!(.priority(#sign #priority)));
        }
        if let Some(max) = &self.max_running {
            calls.extend(quote!(.max_running(#max)));
        }
        if let Some(path) = &self.limit_key {
            let max = match &self.max_running_per_key {
                Some(max) => quote!(#max),
                None => quote!(1),
            };
            calls.extend(quote!(.max_running_per(#max, #krate::Per::argument(#path))));
        }
        if let Some(max) = &self.max_running_per_owner {
            calls.extend(quote!(.max_running_per(#max, #krate::Per::Owner)));
        }
        if self.hold_while_suspended {
            calls.extend(quote!(.hold_while_suspended()));
        }
        let parsed = |rate: &LitStr| quote!(#rate.parse::<#krate::Rate>().expect("it was read when this was compiled"));
        if let Some(rate) = self.rate.as_ref().map(parsed) {
            calls.extend(quote!(.rate(#rate)));
        }
        if let Some(rate) = self.rate_per_owner.as_ref().map(parsed) {
            calls.extend(quote!(.rate_per(#rate, #krate::Per::Owner)));
        }
        if let Some(max) = &self.max_queued {
            calls.extend(quote!(.max_queued(#max)));
        }
        if let Some(max) = &self.max_queued_per_owner {
            calls.extend(quote!(.max_queued_per(#max, #krate::Per::Owner)));
        }
        if let Some(then) = self.then(krate) {
            calls.extend(match &self.same_key {
                Some(path) => quote!(.same_by(#krate::Per::argument(#path), #then)),
                None => quote!(.same(#then)),
            });
        }
        if let Some(ms) = self.key_window_ms {
            calls.extend(quote!(.key_window(::core::time::Duration::from_millis(#ms))));
        }
        if calls.is_empty() {
            return calls;
        }
        quote!(.order(#krate::Order::new() #calls))
    }

    fn then(&self, krate: &Path) -> Option<TokenStream> {
        if let Some(ms) = self.debounce_ms {
            return Some(quote!(#krate::Then::Debounce {
                delay: ::core::time::Duration::from_millis(#ms),
                at_most: ::core::option::Option::None,
            }));
        }
        let word = self.same.as_ref()?.value();
        Some(if word == "join" {
            quote!(#krate::Then::Join)
        } else {
            quote!(#krate::Then::Replace)
        })
    }
}

fn priority(meta: &ParseNestedMeta<'_>) -> Result<(bool, LitInt)> {
    let value = meta.value()?;
    let negative = value.parse::<Option<Token![-]>>()?.is_some();
    let number: LitInt = value.parse()?;
    if number.base10_parse::<u32>()? > 100 {
        return Err(syn::Error::new(
            number.span(),
            "a priority is a number from -100 to 100; larger runs earlier",
        ));
    }
    Ok((negative, number))
}

fn rate(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let text: LitStr = meta.value()?.parse()?;
    let rate = text.value().parse::<Rate>();
    rate.map_err(|problem| syn::Error::new(text.span(), problem))?;
    Ok(text)
}

fn same(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let word: LitStr = meta.value()?.parse()?;
    match word.value().as_str() {
        "join" | "replace" => Ok(word),
        _ => Err(syn::Error::new(
            word.span(),
            "write \"join\" (a call gets the unfinished task) or \"replace\" (the unfinished task is \
             cancelled)",
        )),
    }
}
