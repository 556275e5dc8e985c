//! What stands in the brackets of `#[tool(…)]`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Ident, LitBool, LitInt, LitStr, Path, Result, Token};

use outlast_core::{duration, label};

use crate::order::Order;
use crate::schedule::Schedule;

/// Everything that may be written, for error messages.
const ALLOWED: &str = "task, name, title, description, icon, tags, version, accepts, retention, timeout, \
                       idle_timeout, queue_timeout, no_worker_timeout, max_age, retries, max_crashes, \
                       repeatable, confirm, ask_first, detach_after, detach, heartbeat, \
                       on_disconnect, read_only, destructive, idempotent, \
                       open_world, priority, max_running, limit_key, max_running_per_key, \
                       max_running_per_owner, hold_while_suspended, rate, rate_per_owner, \
                       max_queued, max_queued_per_owner, same, same_key, debounce, key_window, \
                       labels, requires, schedule, every, time_zone, crate";

/// The three words of `task = "…"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskWord {
    Forbidden,
    Optional,
    Required,
}

/// The parsed options; `None` and empty where nothing is said.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) task: Option<TaskWord>,
    pub(crate) name: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) icon: Option<LitStr>,
    pub(crate) tags: Vec<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) accepts: Vec<LitStr>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) idle_timeout_ms: Option<u64>,
    pub(crate) queue_timeout_ms: Option<u64>,
    pub(crate) no_worker_timeout_ms: Option<u64>,
    pub(crate) max_age_ms: Option<u64>,
    pub(crate) retries: Option<LitInt>,
    pub(crate) max_crashes: Option<LitInt>,
    pub(crate) repeatable: Option<bool>,
    pub(crate) confirm: bool,
    pub(crate) ask_first: Option<Path>,
    /// Milliseconds; `Some(None)` for never.
    pub(crate) detach_after_ms: Option<Option<u64>>,
    pub(crate) detach: Option<bool>,
    pub(crate) heartbeat_ms: Option<u64>,
    pub(crate) detach_on_disconnect: bool,
    pub(crate) read_only: Option<bool>,
    pub(crate) destructive: Option<bool>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) open_world: Option<bool>,
    pub(crate) order: Order,
    pub(crate) labels: Vec<(String, LitStr)>,
    pub(crate) requires: Vec<LitStr>,
    pub(crate) schedule: Schedule,
    pub(crate) krate: Option<Path>,
}

impl Options {
    pub(crate) fn parse(attribute: proc_macro2::TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let parser = syn::meta::parser(|meta| {
            let word = meta
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            if seen.contains(&word) {
                return Err(meta.error(format!("`{word}` is given twice")));
            }
            options.option(&word, &meta)?;
            seen.push(word);
            Ok(())
        });
        parser.parse2(attribute)?;
        options.check_together()?;
        Ok(options)
    }

    fn option(&mut self, word: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match word {
            "task" => self.task = Some(task_word(meta)?),
            "name" => self.name = Some(tool_name(meta)?),
            "title" => self.title = Some(meta.value()?.parse()?),
            "description" => self.description = Some(meta.value()?.parse()?),
            "icon" => self.icon = Some(meta.value()?.parse()?),
            "tags" => self.tags = strings(meta)?,
            "version" => self.version = Some(meta.value()?.parse()?),
            "accepts" => self.accepts = strings(meta)?,
            "retention" => self.retention_ms = Some(milliseconds(meta)?),
            "timeout" => self.timeout_ms = Some(milliseconds(meta)?),
            "idle_timeout" => self.idle_timeout_ms = Some(milliseconds(meta)?),
            "queue_timeout" => self.queue_timeout_ms = Some(milliseconds(meta)?),
            "no_worker_timeout" => self.no_worker_timeout_ms = Some(milliseconds(meta)?),
            "max_age" => self.max_age_ms = Some(milliseconds(meta)?),
            "retries" => self.retries = Some(meta.value()?.parse()?),
            "max_crashes" => self.max_crashes = Some(meta.value()?.parse()?),
            "repeatable" => self.repeatable = Some(flag(meta)?),
            "confirm" => self.confirm = flag(meta)?,
            "ask_first" => self.ask_first = Some(meta.value()?.parse()?),
            "detach_after" => self.detach_after_ms = Some(time_or_never(meta)?),
            "detach" => self.detach = Some(flag(meta)?),
            "heartbeat" => self.heartbeat_ms = Some(milliseconds(meta)?),
            "on_disconnect" => {
                on_disconnect(meta)?;
                self.detach_on_disconnect = true;
            }
            "read_only" => self.read_only = Some(flag(meta)?),
            "destructive" => self.destructive = Some(flag(meta)?),
            "idempotent" => self.idempotent = Some(flag(meta)?),
            "open_world" => self.open_world = Some(flag(meta)?),
            "labels" => self.labels = labels(meta)?,
            "requires" => self.requires = strings(meta)?,
            "crate" => self.krate = Some(meta.value()?.call(Path::parse_mod_style)?),
            _ if self.order.option(word, meta)? => {}
            _ if self.schedule.option(word, meta)? => {}
            _ => return Err(meta.error(format!("unknown option; allowed: {ALLOWED}"))),
        }
        Ok(())
    }

    /// What cannot stand together.
    fn check_together(&self) -> Result<()> {
        if self.confirm && self.task == Some(TaskWord::Forbidden) {
            return Err(syn::Error::new(
                Span::call_site(),
                "`confirm` asks in a task, and this tool is never one; write #[tool(task, confirm)]",
            ));
        }
        if let (Some(label), Some(TaskWord::Forbidden)) = (self.requires.first(), self.task) {
            return Err(syn::Error::new(
                label.span(),
                "`requires` chooses the workers of its tasks, and this tool is never a task; write \
                 #[tool(task, requires = […])]",
            ));
        }
        self.order.check_together()?;
        self.schedule
            .check_together(self.task == Some(TaskWord::Forbidden))?;
        if self.ask_first.is_some() && self.task == Some(TaskWord::Forbidden) {
            return Err(syn::Error::new(
                Span::call_site(),
                "`ask_first` asks before a task exists, and this tool is never a task; write \
                 #[tool(task, ask_first = …)]",
            ));
        }
        Ok(())
    }
}

fn task_word(meta: &ParseNestedMeta<'_>) -> Result<TaskWord> {
    if !meta.input.peek(Token![=]) {
        return Ok(TaskWord::Optional);
    }
    let word: LitStr = meta.value()?.parse()?;
    match word.value().as_str() {
        "forbidden" => Ok(TaskWord::Forbidden),
        "optional" => Ok(TaskWord::Optional),
        "required" => Ok(TaskWord::Required),
        _ => Err(syn::Error::new(
            word.span(),
            "write \"optional\" (the same as `task` alone), \"required\" or \"forbidden\"",
        )),
    }
}

/// Tool names are compared by clients of every kind; 2025-11-25 tools, "Tool Names".
fn tool_name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let name: LitStr = meta.value()?.parse()?;
    let text = name.value();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err(syn::Error::new(
            name.span(),
            "a tool's name has 1 to 128 characters: letters, digits, `_`, `-` and `.`",
        ));
    }
    Ok(name)
}

/// `labels(team = "payments", "cost centre" = "42")`.
fn labels(meta: &ParseNestedMeta<'_>) -> Result<Vec<(String, LitStr)>> {
    let inner;
    syn::parenthesized!(inner in meta.input);
    let mut labels: Vec<(String, LitStr)> = Vec::new();
    while !inner.is_empty() {
        let (key, span) = if inner.peek(LitStr) {
            let key: LitStr = inner.parse()?;
            (key.value(), key.span())
        } else {
            let key = inner.call(Ident::parse_any)?;
            (key.unraw().to_string(), key.span())
        };
        inner.parse::<Token![=]>()?;
        let value: LitStr = inner.parse()?;
        label::check_one(&key, &value.value()).map_err(|wrong| syn::Error::new(span, wrong))?;
        if labels.iter().any(|(other, _)| *other == key) {
            let wrong = format!("the label {key:?} is given twice");
            return Err(syn::Error::new(span, wrong));
        }
        labels.push((key, value));
        if labels.len() > label::MAX_LABELS {
            let wrong = format!("a task has at most {} labels", label::MAX_LABELS);
            return Err(syn::Error::new(span, wrong));
        }
        if !inner.is_empty() {
            inner.parse::<Token![,]>()?;
        }
    }
    Ok(labels)
}

pub(crate) fn strings(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let inner;
    let value = meta.value()?;
    syn::bracketed!(inner in value);
    let list = inner.parse_terminated(|input| input.parse::<LitStr>(), Token![,])?;
    Ok(list.into_iter().collect())
}

pub(crate) fn milliseconds(meta: &ParseNestedMeta<'_>) -> Result<u64> {
    let text: LitStr = meta.value()?.parse()?;
    let duration = duration::parse(&text.value());
    let duration = duration.map_err(|problem| syn::Error::new(text.span(), problem))?;
    Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A time, or `"never"`.
fn time_or_never(meta: &ParseNestedMeta<'_>) -> Result<Option<u64>> {
    let text: LitStr = meta.value()?.parse()?;
    if text.value() == "never" {
        return Ok(None);
    }
    let duration = duration::parse(&text.value()).map_err(|problem| {
        syn::Error::new(text.span(), format!("{problem}; or write \"never\""))
    })?;
    Ok(Some(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
}

fn on_disconnect(meta: &ParseNestedMeta<'_>) -> Result<()> {
    let word: LitStr = meta.value()?.parse()?;
    if word.value() == "detach" {
        return Ok(());
    }
    Err(syn::Error::new(
        word.span(),
        "write \"detach\": the call goes on as a task when its caller goes away",
    ))
}

/// `read_only` alone, or `read_only = true`.
pub(crate) fn flag(meta: &ParseNestedMeta<'_>) -> Result<bool> {
    if !meta.input.peek(Token![=]) {
        return Ok(true);
    }
    Ok(meta.value()?.parse::<LitBool>()?.value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words that are documented as options: those that code in the first column of a table begins with.
    fn documented() -> BTreeSet<String> {
        let facade = include_str!("../../outlast/src/lib.rs");
        let (before, _) = facade.split_once("pub use outlast_macros::tool;").unwrap();
        let (_, options) = before.rsplit_once("**Options**").unwrap();
        let rows = options
            .lines()
            .filter_map(|line| line.strip_prefix("/// | "));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        let codes = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let words = codes.filter(|code| !code.starts_with('"'));
        let word = |code: &str| code.split([' ', '=', '(']).next().map(str::to_owned);
        words.filter_map(word).collect()
    }

    #[test]
    fn every_option_is_in_the_documentation_and_in_the_list() {
        let allowed: BTreeSet<String> = ALLOWED.split(", ").map(str::to_owned).collect();
        assert_eq!(documented(), allowed);
        for word in allowed {
            // No option takes a float: what is known says what it wants instead.
            let attribute: proc_macro2::TokenStream = format!("{word} = 1.5").parse().unwrap();
            let refused = Options::parse(attribute).err().unwrap().to_string();
            assert!(!refused.contains("unknown option"), "{word}: {refused}");
        }
        let unknown = Options::parse("nonsense = 1".parse().unwrap())
            .err()
            .unwrap();
        assert!(unknown.to_string().contains("unknown option"));
    }
}
