//! What is recorded of a client with whatever it asks for.
//!
//! In the newer era a client says it with each request, and nearly always the same as with the last
//! one, so the latest record is kept and compared before another is made.

use std::sync::{Mutex, PoisonError};

use outlast_core::RawJson;

use crate::protocol::Capabilities;
use crate::wire::Object;

/// A client says its name, version and a little more. What is longer than this is not kept, for it would
/// be kept with each session and each task.
const LONGEST: usize = 4096;

/// The record that was made last.
#[derive(Default)]
pub(crate) struct LatestClient(Mutex<Option<Said>>);

struct Said {
    info: Option<Box<str>>,
    capabilities: Capabilities,
    record: RawJson,
}

impl LatestClient {
    /// The record of a client that says this of itself.
    pub(crate) fn record(&self, info: Option<&str>, capabilities: Capabilities) -> RawJson {
        let info = info.filter(|info| info.len() <= LONGEST);
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = &*latest
            && said.capabilities == capabilities
            && said.info.as_deref() == info
        {
            return said.record.clone();
        }
        let record = client_record(info, capabilities);
        *latest = Some(Said {
            info: info.map(Box::from),
            capabilities,
            record: record.clone(),
        });
        record
    }
}

/// The record of a client with this `Implementation` object and these capabilities. An object that
/// nobody could read (see [`RawJson`]), or that is too long, is left out.
pub(crate) fn client_record(info: Option<&str>, capabilities: Capabilities) -> RawJson {
    let mut out = Vec::with_capacity(128);
    {
        let mut object = Object::new(&mut out);
        let fits = |info: &&str| info.len() <= LONGEST && RawJson::parse(*info).is_ok();
        if let Some(info) = info.filter(fits) {
            object.raw("info", info);
        }
        let mut declared = object.object("capabilities");
        if capabilities.elicitation_form || capabilities.elicitation_url {
            let mut elicitation = declared.object("elicitation");
            if capabilities.elicitation_form {
                elicitation.object("form");
            }
            if capabilities.elicitation_url {
                elicitation.object("url");
            }
        }
        if capabilities.sampling {
            let mut sampling = declared.object("sampling");
            if capabilities.sampling_tools {
                sampling.object("tools");
            }
        }
        if capabilities.roots {
            declared.object("roots");
        }
    }
    RawJson::parse(String::from_utf8(out).expect("JSON is UTF-8")).expect("written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: Capabilities = Capabilities {
        elicitation_form: true,
        elicitation_url: false,
        sampling: false,
        sampling_tools: false,
        roots: false,
        tasks: false,
    };

    #[test]
    fn the_client_is_recorded_with_what_it_declared() {
        assert_eq!(
            client_record(Some(r#"{"name":"x"}"#), FORMS).as_str(),
            r#"{"info":{"name":"x"},"capabilities":{"elicitation":{"form":{}}}}"#
        );
        assert_eq!(
            client_record(Some(r#"{"name":"\ud800"}"#), FORMS).as_str(),
            r#"{"capabilities":{"elicitation":{"form":{}}}}"#
        );
    }

    #[test]
    fn each_client_gets_its_own_record() {
        let latest = LatestClient::default();
        let none = Capabilities::default();
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(LONGEST));
        assert_eq!(client_record(Some(&long), none), client_record(None, none));
        for _ in 0..2 {
            for (info, capabilities) in [
                (Some(r#"{"name":"x"}"#), FORMS),
                (Some(r#"{"name":"y"}"#), FORMS),
                (Some(r#"{"name":"y"}"#), none),
                (None, none),
                (Some(&long), none),
            ] {
                let expected = client_record(info, capabilities);
                assert_eq!(latest.record(info, capabilities), expected);
                assert_eq!(latest.record(info, capabilities), expected);
            }
        }
    }
}
