//! Where a request may come from.
//!
//! A page in a browser can send requests to a server on the same machine. Its `Origin` gives it away,
//! and where it has rebound a name to this machine, its `Host` does. Both must be loopback names or
//! on a list; requests without an `Origin` come from no page.

use http::header::{HOST, ORIGIN};
use http::request::Parts;

use crate::server::Config;

/// Says where requests may come from.
pub struct Guard {
    hosts: Vec<String>,
    addresses: bool,
    origins: Vec<String>,
}

impl Guard {
    /// The guard of a server with this configuration.
    pub fn new(config: &Config) -> Self {
        let lower = |list: &[String]| {
            list.iter()
                .map(|entry| entry.to_ascii_lowercase())
                .collect()
        };
        Self {
            hosts: lower(&config.allowed_hosts),
            addresses: config.allow_address_hosts,
            origins: lower(&config.allowed_origins),
        }
    }

    /// Whether the request may be looked at.
    ///
    /// # Errors
    /// A sentence that says which header is wrong and what to do.
    pub fn check(&self, parts: &Parts) -> Result<(), String> {
        self.check_host(parts)?;
        self.check_origin(parts)
    }

    /// Whether it names this server.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub fn check_host(&self, parts: &Parts) -> Result<(), String> {
        let mut hosts = parts.headers.get_all(HOST).iter();
        if let Some(host) = hosts.next() {
            if hosts.next().is_some() {
                return Err("the header Host stands there more than once".into());
            }
            let allowed = host.to_str().is_ok_and(|host| self.allows_host(host));
            if !allowed {
                return Err(refusal("Host", host, "allowed hosts"));
            }
        } else if let Some(authority) = parts.uri.authority()
            && !self.allows_host(authority.as_str())
        {
            return Err(format!("host {authority} is not among the allowed hosts"));
        }
        Ok(())
    }

    /// Whether it comes from no page, or from one that may call.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub fn check_origin(&self, parts: &Parts) -> Result<(), String> {
        let mut origins = parts.headers.get_all(ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return Err("the header Origin stands there more than once".into());
        }
        match origin {
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
            || (self.addresses && is_address(name))
            || self.hosts.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name)
            })
    }

    /// Whether a page of this origin may call.
    pub fn allows_origin(&self, origin: &str) -> bool {
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

/// An address in digits; IPv6 in brackets.
fn is_address(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.parse::<std::net::Ipv4Addr>().is_ok(),
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
    fn a_second_line_of_either_header_is_refused_whatever_the_first_says() {
        let guard = Guard::new(&Config::new("t", "1"));
        for header in [HOST, ORIGIN] {
            let value = if header == HOST {
                "localhost"
            } else {
                "http://localhost"
            };
            for second in [value, "evil.example"] {
                let request = http::Request::builder().header(&header, value);
                let request = request.header(&header, second).body(()).unwrap();
                let refused = guard.check(&request.into_parts().0).unwrap_err();
                assert!(refused.contains("more than once"), "{refused}");
            }
        }
    }

    #[test]
    fn addresses_in_digits_are_no_rebound_names() {
        let config = Config {
            allow_address_hosts: true,
            ..Config::new("t", "1")
        };
        for host in ["10.0.0.7:9876", "[fd00::1]:9876", "[fd00::1]"] {
            assert!(verdict(&config, host, None), "{host}");
        }
        for host in ["evil.example", "10.0.0.7.evil.example", "fd00::1"] {
            assert!(!verdict(&config, host, None), "{host}");
        }
        let own_page = Some("http://10.0.0.7:9876");
        assert!(!verdict(&config, "10.0.0.7:9876", own_page), "{own_page:?}");
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
