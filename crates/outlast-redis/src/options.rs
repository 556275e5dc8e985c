//! How a store is opened, and what its address says.

use std::sync::Arc;

use outlast_core::{Clock, Error, Result};

/// The name that keys begin with where the address says nothing else.
const PREFIX: &str = "outlast";

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Where Redis is: `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, or
    /// `redis+unix:///path`. Behind a question mark: `prefix=NAME`, what all keys begin with
    /// (`outlast`), and `volatile=true`, which accepts a Redis that loses tasks when it restarts. With TLS
    /// also `ca=FILE`, the certificate to trust in place of those that the machine trusts, and
    /// `cert=FILE` with `key=FILE`, what to show to a Redis that asks for a certificate; all are PEM.
    pub address: String,
    /// The server's name. The keys under a prefix belong to the first server that opened them.
    pub server_name: String,
    /// The store's clock; the server's where there is none.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Options {
    /// The store at `address` for the server `server_name`, with the defaults.
    pub fn new(address: impl Into<String>, server_name: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            server_name: server_name.into(),
            clock: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// What an address says.
pub(crate) struct Address {
    /// For the driver.
    pub(crate) url: String,
    /// Without secrets.
    pub(crate) location: String,
    pub(crate) prefix: String,
    pub(crate) volatile: bool,
    pub(crate) certificates: Certificates,
}

/// Files for TLS.
#[derive(Default)]
pub(crate) struct Certificates {
    pub(crate) ca: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

impl Certificates {
    pub(crate) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }
}

impl Address {
    pub(crate) fn read(address: &str) -> Result<Self> {
        let (url, query) = address.split_once('?').unwrap_or((address, ""));
        let location = match url.split_once("://") {
            Some((scheme, rest)) => {
                let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{rest}")
            }
            None => "redis address".into(),
        };
        let mut read = Self {
            url: url.to_owned(),
            location,
            prefix: PREFIX.to_owned(),
            volatile: false,
            certificates: Certificates::default(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("prefix", prefix) if is_prefix(prefix) => prefix.clone_into(&mut read.prefix),
                ("prefix", prefix) => {
                    return Err(Error::Invalid(format!(
                        "{prefix:?} is no prefix of keys: use 1 to 64 letters, digits, `-`, `_` and `.`"
                    )));
                }
                ("volatile", "true") => read.volatile = true,
                ("volatile", "false") => read.volatile = false,
                ("ca", file) if !file.is_empty() => read.certificates.ca = Some(file.to_owned()),
                ("cert", file) if !file.is_empty() => {
                    read.certificates.cert = Some(file.to_owned())
                }
                ("key", file) if !file.is_empty() => read.certificates.key = Some(file.to_owned()),
                // What the driver knows, such as the database of a socket.
                ("db" | "pass" | "user" | "protocol", _) => {
                    let mark = if read.url.contains('?') { '&' } else { '?' };
                    read.url = format!("{}{mark}{pair}", read.url);
                }
                (other, _) => {
                    return Err(Error::Invalid(format!(
                        "the address of the task store {} says {other:?}, which means nothing: known \
                         are `prefix=NAME`, `volatile=true`, and with rediss:// `ca=FILE`, `cert=FILE` \
                         and `key=FILE`",
                        read.location
                    )));
                }
            }
        }
        read.check_certificates()?;
        if read.prefix != PREFIX {
            read.location = format!("{} prefix {}", read.location, read.prefix);
        }
        Ok(read)
    }

    fn check_certificates(&self) -> Result<()> {
        let files = &self.certificates;
        let problem = if files.cert.is_some() != files.key.is_some() {
            "names one of `cert` and `key`, which belong together"
        } else if !files.is_empty() && !self.url.starts_with("rediss://") {
            "names certificates, which only rediss:// uses"
        } else {
            return Ok(());
        };
        let store = &self.location;
        Err(Error::Invalid(format!(
            "the address of the task store {store} {problem}"
        )))
    }
}

fn is_prefix(prefix: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(known)
}
