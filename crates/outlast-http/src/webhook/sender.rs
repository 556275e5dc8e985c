//! The sending of one message.
//!
//! The resolver of each client gives out only addresses that it may connect to, so what is looked at is what is
//! connected to: there is no second look-up in between. A host that is an address itself is resolved by nobody
//! and is looked at before.

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use outlast_engine::{BoxFuture, Trust, WebhookAnswer, WebhookMessage, WebhookSender};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url, header, redirect};

use super::address::is_private;

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one connection may wait for the next message.
const IDLE: Duration = Duration::from_secs(30);

/// Where a client may connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    Public,
    Private,
    Any,
}

impl Reach {
    fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => !is_private(address),
            Self::Private => is_private(address),
            Self::Any => true,
        }
    }
}

/// Why an address is not connected to.
#[derive(Debug)]
struct Refused {
    host: String,
    reach: Reach,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.reach {
            Reach::Private => write!(
                f,
                "{host} has no private address, and plain http goes to no other; use https"
            ),
            _ => write!(
                f,
                "{host} has a private address, which no message is sent to unless the settings of \
                 webhooks say private = true"
            ),
        }
    }
}

impl std::error::Error for Refused {}

struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| reach.takes(address.ip())).collect();
            if allowed.is_empty() {
                let host = name.as_str().to_owned();
                return Err(Refused { host, reach }.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn client(reach: Reach) -> Client {
    Client::builder()
        .dns_resolver(std::sync::Arc::new(Resolver(reach)))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("outlast/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("a client without special roots can be made")
}

/// Hosts that callers may name.
#[derive(Debug)]
enum Hosts {
    All,
    Below(String),
    One(String),
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let url = format!("https://{name}/");
        // A port that is the usual one would be lost on the way, and a star is a host to the parser.
        let odd = name.contains('*') || (name.contains(':') && !name.starts_with('['));
        let plain = Url::parse(&url).ok().filter(|url| {
            let more =
                odd || url.port().is_some() || url.path() != "/" || !url.username().is_empty();
            !more && url.query().is_none() && url.fragment().is_none()
        });
        let host = plain.as_ref().and_then(Url::host_str);
        match (text, host) {
            ("*", _) => Ok(Self::All),
            (_, Some(host)) if text.starts_with("*.") => Ok(Self::Below(format!(".{host}"))),
            (_, Some(host)) => Ok(Self::One(host.to_owned())),
            (_, None) => Err(format!(
                "{text:?} is no host; write a name, *.NAME for all below it, or * for all"
            )),
        }
    }

    fn has(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Below(end) => host.ends_with(end.as_str()),
            Self::One(name) => host == name,
        }
    }
}

/// Sends messages by reqwest.
pub(super) struct Sender {
    hosts: Vec<Hosts>,
    private: bool,
    to_public: Client,
    to_private: Client,
    to_any: Client,
}

impl Sender {
    /// `hosts` may be named by callers, and have private addresses if `private`.
    ///
    /// # Errors
    /// One of them is no host.
    pub(super) fn new(hosts: &[String], private: bool) -> Result<Self, String> {
        let hosts = hosts.iter().map(|host| Hosts::parse(host));
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            private,
            to_public: client(Reach::Public),
            to_private: client(Reach::Private),
            to_any: client(Reach::Any),
        })
    }

    fn client(&self, reach: Reach) -> &Client {
        match reach {
            Reach::Public => &self.to_public,
            Reach::Private => &self.to_private,
            Reach::Any => &self.to_any,
        }
    }
}

/// An address that may be sent to, as far as it says so itself.
fn parse(text: &str, private: bool) -> Result<(Url, Reach), String> {
    let url = Url::parse(text)
        .map_err(|error| format!("the address is none ({error}); write https://HOST/PATH"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address has a user or a password in it; leave them out".into());
    }
    let reach = match (url.scheme(), private) {
        ("https", true) => Reach::Any,
        ("https", false) => Reach::Public,
        ("http", true) => Reach::Private,
        (scheme, _) => {
            return Err(format!(
                "the address begins with {scheme}:; allowed: https, and http where private addresses are"
            ));
        }
    };
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if literal.is_ok_and(|address| !reach.takes(address)) {
        let host = host.to_owned();
        return Err(Refused { host, reach }.to_string());
    }
    Ok((url, reach))
}

/// Whether these are hosts.
///
/// # Errors
/// Which is none.
pub(super) fn check_hosts(hosts: &[String]) -> Result<(), String> {
    hosts
        .iter()
        .try_for_each(|host| Hosts::parse(host).map(|_| ()))
}

/// Whether the server's own settings may name this address.
///
/// # Errors
/// Why not.
pub(super) fn check(url: &str, private: bool) -> Result<(), String> {
    parse(url, private).map(|_| ())
}

impl WebhookSender for Sender {
    fn admit(&self, text: &str) -> Result<String, String> {
        let (url, _) = parse(text, self.private)?;
        let host = url.host_str().unwrap_or_default();
        if !self.hosts.iter().any(|hosts| hosts.has(host)) {
            return Err(format!(
                "{host} is not among the hosts that callers may name; the server's operator lists them \
                 (webhooks.hosts)"
            ));
        }
        Ok(url.origin().ascii_serialization())
    }

    fn send(&self, message: WebhookMessage) -> BoxFuture<'_, Result<WebhookAnswer, String>> {
        Box::pin(async move {
            let private = match message.trust {
                // The list may have changed since the call.
                Trust::Caller => {
                    self.admit(&message.url)?;
                    self.private
                }
                Trust::Settings { private } => private,
            };
            let (url, reach) = parse(&message.url, private)?;
            let mut request = self
                .client(reach)
                .post(url)
                .header(header::CONTENT_TYPE, "application/json")
                .body(message.body);
            for (name, value) in message.headers {
                request = request.header(name, value);
            }
            let response = request.send().await.map_err(told)?;
            Ok(WebhookAnswer {
                status: response.status().as_u16(),
                retry_after: retry_after(&response),
            })
        })
    }
}

/// Why there is no answer, without the address: it may be a secret.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return refused.to_string();
        }
        let text = cause.to_string();
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        source = cause.source();
    }
    sentence
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    at.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_name_listed_hosts_alone() {
        let hosts = ["hooks.example".to_owned(), "*.example.org".to_owned()];
        let sender = Sender::new(&hosts, false).unwrap();
        for (url, origin) in [
            ("https://hooks.example/a?b=c", "https://hooks.example"),
            ("https://HOOKS.example:8443/", "https://hooks.example:8443"),
            ("https://a.b.example.org", "https://a.b.example.org"),
        ] {
            assert_eq!(sender.admit(url).as_deref(), Ok(origin));
        }
        for (url, why) in [
            ("https://example.org/", "not among the hosts"),
            ("https://evil-example.org/", "not among the hosts"),
            ("https://hooks.example.evil/", "not among the hosts"),
            ("https://u:p@hooks.example/", "password"),
            ("http://hooks.example/", "allowed: https"),
            ("ftp://hooks.example/", "allowed: https"),
            ("hooks.example", "write https://"),
        ] {
            let refused = sender.admit(url).unwrap_err();
            assert!(refused.contains(why), "{url}: {refused}");
        }
        for wrong in ["", "a b", "https://x", "x/y", "x:443", "*.*"] {
            let refused = Sender::new(&[wrong.to_owned()], false).err();
            assert!(
                refused.is_some_and(|why| why.contains("is no host")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_address_in_any_spelling_is_looked_at() {
        let all = ["*".to_owned()];
        let sender = Sender::new(&all, false).unwrap();
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
        ] {
            let refused = sender.admit(url).unwrap_err();
            assert!(refused.contains("private address"), "{url}: {refused}");
        }
        let sender = Sender::new(&all, true).unwrap();
        assert!(sender.admit("http://127.0.0.1:1/").is_ok());
        let refused = sender.admit("http://1.1.1.1/").unwrap_err();
        assert!(refused.contains("use https"), "{refused}");
    }
}
