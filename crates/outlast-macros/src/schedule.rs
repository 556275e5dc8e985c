//! The options of `#[tool(…)]` that let it call itself, and the call they become.
//!
//! They name the commonest schedule of a tool and nothing more: whoever wants arguments, a policy for what
//! was missed, or a second schedule writes `Tool::schedule`.

use outlast_core::NewSchedule;
use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{LitStr, Path, Result};

/// The parsed options; `None` where nothing is said.
#[derive(Default)]
pub(crate) struct Schedule {
    cron: Option<LitStr>,
    every: Option<LitStr>,
    time_zone: Option<LitStr>,
}

impl Schedule {
    /// Reads an option. `false` if it is none of these.
    pub(crate) fn option(&mut self, word: &str, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        match word {
            "schedule" => self.cron = Some(meta.value()?.parse()?),
            "every" => self.every = Some(meta.value()?.parse()?),
            "time_zone" => self.time_zone = Some(meta.value()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What cannot stand together, and times that cannot be.
    pub(crate) fn check_together(&self, never_a_task: bool) -> Result<()> {
        let wrong = |at: &LitStr, sentence: &str| Err(syn::Error::new(at.span(), sentence));
        if let (Some(_), Some(every)) = (&self.cron, &self.every) {
            let sentence =
                "`schedule` and `every` are two answers to one question; say one of them";
            return wrong(every, sentence);
        }
        if let (Some(zone), None) = (&self.time_zone, &self.cron) {
            let sentence = "`time_zone` is that of a `schedule`: `schedule = \"0 3 * * *\"`";
            return wrong(zone, sentence);
        }
        let Some(at) = self.cron.as_ref().or(self.every.as_ref()) else {
            return Ok(());
        };
        if never_a_task {
            let sentence = "what calls itself runs as a task, and this tool is never one; write \
                            #[tool(task, …)]";
            return wrong(at, sentence);
        }
        let schedule = match (&self.cron, &self.every) {
            (Some(cron), _) => NewSchedule::cron(cron.value()),
            (None, _) => {
                let every = outlast_core::duration::parse(&at.value());
                NewSchedule::every(every.map_err(|wrong| syn::Error::new(at.span(), wrong))?)
            }
        };
        let schedule = schedule.of_tool("tool");
        let at_fault = |at: &LitStr| {
            let span = at.span();
            move |sentence| syn::Error::new(span, sentence)
        };
        schedule.check().map_err(at_fault(at))?;
        match &self.time_zone {
            Some(zone) => {
                let checked = schedule.time_zone(zone.value()).check();
                checked.map_err(at_fault(zone))
            }
            None => Ok(()),
        }
    }

    /// `.schedule(…)`, if anything was said.
    pub(crate) fn call(&self, krate: &Path) -> TokenStream {
        let when = match (&self.cron, &self.every) {
            (Some(cron), _) => {
                let zone = self.time_zone.iter();
                quote!(cron(#cron) #(.time_zone(#zone))*)
            }
            (None, Some(every)) => {
                let every = outlast_core::duration::parse(&every.value()).unwrap_or_default();
                let ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
                quote!(every(::core::time::Duration::from_millis(#ms)))
            }
            (None, None) => return TokenStream::new(),
        };
        quote!(.schedule(#krate::NewSchedule::#when))
    }
}
