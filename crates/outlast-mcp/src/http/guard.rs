//! Where a request may come from.
//!
//! A page in a browser can send requests to a server on the same machine. Its `Origin` gives it away,
//! and where it has rebound a name to this machine, its `Host` does. Both must be loopback names or
//! on a list; requests without an `Origin` come from no page.

use http::header::{HOST, ORIGIN};
use http::request::Parts;

use crate::server::Config;

/// The lists a server was given.
pub(super) struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        let lower = |list: &[String]| {
            list.iter()
                .map(|entry| entry.to_ascii_lowercase())
                .collect()
        };
        Self {
            hosts: lower(&config.allowed_hosts),
            origins: lower(&config.allowed_origins),
        }
    }

    /// Whether the request may be looked at.
    ///
    /// # Errors
    /// A sentence that says which header is wrong and what to do.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), String> {
        if let Some(host) = parts.headers.get(HOST) {
            let allowed = host.to_str().is_ok_and(|host| self.allows_host(host));
            if !allowed {
                return Err(refusal("Host", host, "allowed hosts"));
            }
        } else if let Some(authority) = parts.uri.authority()
            && !self.allows_host(authority.as_str())
        {
            return Err(format!("host {authority} is not among the allowed hosts"));
        }
        match parts.headers.get(ORIGIN) {
            Some(origin)
                if !origin
                    .to_str()
                    .is_ok_and(|origin| self.allows_origin(origin)) =>
            {
                Err(refusal("Origin", origin, "allowed origins"))
            }
            _ => Ok(()),
        }
    }

    fn allows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        is_loopback(name)
            || self.hosts.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name)
            })
    }

    fn allows_origin(&self, origin: &str) -> bool {
        if self
            .origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        matches!(scheme, "http" | "https") && is_loopback(without_port(authority))
    }
}

fn refusal(header: &str, value: &http::HeaderValue, list: &str) -> String {
    format!(
        "{header} {value:?} is not among the {list}; add it to the server's settings if it should be"
    )
}

/// The name without `:port`; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => authority,
    }
}

fn is_loopback(name: &str) -> bool {
    if name.eq_ignore_ascii_case("localhost") || name == "[::1]" {
        return true;
    }
    name.parse::<std::net::Ipv4Addr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(config: &Config, host: &str, origin: Option<&str>) -> bool {
        let mut request = http::Request::builder().header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Guard::new(config).check(&parts).is_ok()
    }

    #[test]
    fn loopback_names_are_allowed_and_nothing_else_by_default() {
        let config = Config::new("t", "1");
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:9876",
            "127.8.8.8",
            "[::1]:1",
            "[::1]",
        ] {
            assert!(verdict(&config, host, None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
        ] {
            assert!(!verdict(&config, host, None), "{host}");
        }
        for origin in ["http://localhost:3000", "https://127.0.0.1"] {
            assert!(verdict(&config, "localhost", Some(origin)), "{origin}");
        }
        for origin in [
            "null",
            "https://evil.example",
            "file://localhost",
            "http://localhost.evil.example",
        ] {
            assert!(!verdict(&config, "localhost", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_lists_add_to_it() {
        let config = Config {
            allowed_hosts: vec!["Tasks.example".into()],
            allowed_origins: vec!["https://app.example".into()],
            ..Config::new("t", "1")
        };
        assert!(verdict(
            &config,
            "tasks.example:443",
            Some("https://app.example")
        ));
        assert!(!verdict(
            &config,
            "tasks.example",
            Some("http://app.example")
        ));
    }
}
