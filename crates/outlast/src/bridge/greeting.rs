//! The first line on the socket: who the bridge is, and what the server makes of it.
//!
//! Unknown keys are ignored and absent ones have defaults, so that builds of different ages
//! understand each other at least this far.

use serde::{Deserialize, Serialize};

/// What a server, or the bridge to it, was made from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Identity {
    /// The binary.
    pub(crate) binary: String,
    /// The settings, and whatever else it was built from.
    pub(crate) configuration: String,
    /// Where it listens for HTTP, if it was told to.
    pub(crate) listen: Option<String>,
}

/// What a server makes of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Same,
    OtherBinary,
    OtherConfiguration,
}

impl Identity {
    /// Compares a bridge with this server. One that does not care where the server listens is
    /// content with any place.
    pub(crate) fn judge(&self, greeting: &Greeting) -> Verdict {
        let bridge = &greeting.identity;
        if greeting.again {
            Verdict::Same
        } else if self.binary != bridge.binary {
            Verdict::OtherBinary
        } else if self.configuration != bridge.configuration
            || bridge.listen.is_some() && self.listen != bridge.listen
        {
            Verdict::OtherConfiguration
        } else {
            Verdict::Same
        }
    }
}

/// The first line of a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Greeting {
    /// What the bridge is made from.
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// It was connected before, to a server that ended: any other will do.
    pub(crate) again: bool,
}

/// The answer to a greeting.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Welcome {
    /// The server's process.
    pub(crate) pid: u32,
    /// The server makes room; the connection ends when it is gone.
    pub(crate) handover: bool,
    /// What the bridge should tell its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped<T> {
    outlast: T,
}

fn line<T: Serialize>(outlast: T) -> String {
    let mut line =
        serde_json::to_string(&Wrapped { outlast }).expect("plain structs have a JSON form");
    line.push('\n');
    line
}

impl Greeting {
    /// The greeting as a line.
    pub(crate) fn line(&self) -> String {
        line(self)
    }
}

impl Welcome {
    /// The answer as a line.
    pub(crate) fn line(&self) -> String {
        line(self)
    }
}

/// Reads a greeting; `None` if the line is something else: a message of the protocol.
pub(crate) fn read_greeting(line: &[u8]) -> Option<Greeting> {
    let wrapped: Wrapped<Greeting> = serde_json::from_slice(line).ok()?;
    Some(wrapped.outlast)
}

/// Reads the answer to a greeting.
pub(crate) fn read_welcome(line: &[u8]) -> Option<Welcome> {
    let wrapped: Wrapped<Welcome> = serde_json::from_slice(line).ok()?;
    Some(wrapped.outlast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(binary: &str, configuration: &str, listen: Option<&str>) -> Identity {
        Identity {
            binary: binary.into(),
            configuration: configuration.into(),
            listen: listen.map(Into::into),
        }
    }

    fn greeting(binary: &str, configuration: &str, listen: Option<&str>) -> Greeting {
        Greeting {
            identity: identity(binary, configuration, listen),
            again: false,
        }
    }

    #[test]
    fn only_a_greeting_is_a_greeting() {
        let one = greeting("a", "b", Some("c:1"));
        assert_eq!(read_greeting(one.line().as_bytes()), Some(one));
        let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(read_greeting(ping), None);
        assert_eq!(read_greeting(b"nonsense"), None);
    }

    #[test]
    fn a_difference_is_named() {
        let server = identity("a", "b", Some("c:1"));
        for (bridge, verdict) in [
            (greeting("a", "b", Some("c:1")), Verdict::Same),
            (greeting("a", "b", None), Verdict::Same),
            (greeting("x", "b", None), Verdict::OtherBinary),
            (greeting("a", "x", None), Verdict::OtherConfiguration),
            (greeting("a", "b", Some("c:2")), Verdict::OtherConfiguration),
        ] {
            assert_eq!(server.judge(&bridge), verdict, "{bridge:?}");
        }
        let again = Greeting {
            again: true,
            ..greeting("x", "y", None)
        };
        assert_eq!(server.judge(&again), Verdict::Same);
    }
}
