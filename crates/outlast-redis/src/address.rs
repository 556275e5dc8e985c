//! What the address of a store says.
//!
//! Beside the driver's own `redis://` there are `redis+sentinel://HOST:PORT,HOST:PORT/NAME` and
//! `redis+cluster://HOST:PORT,HOST:PORT`, each also with `rediss`. User name, password and database stand
//! where they stand in `redis://` and are meant for the servers with the keys; each host becomes an address
//! of the driver's, which decodes them.

use outlast_core::{Error, Result};

/// The name that keys begin with where the address says nothing else.
const PREFIX: &str = "outlast";

/// The most replicas that a commit may wait for.
const MOST_REPLICAS: usize = 16;

/// The most shards of a store.
const MOST_SHARDS: usize = 64;

/// What an address says.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) servers: Servers,
    /// Without secrets.
    pub(crate) location: String,
    pub(crate) prefix: String,
    pub(crate) volatile: bool,
    /// How many replicas must have a change before it is acknowledged.
    pub(crate) replicas: usize,
    /// Among how many parts the owners are divided.
    pub(crate) shards: usize,
    pub(crate) certificates: Certificates,
}

/// Which servers an address names, as addresses of the driver's.
#[derive(Clone, Debug)]
pub(crate) enum Servers {
    /// The one with the keys.
    One(String),
    Sentinels {
        sentinels: Vec<String>,
        /// By which they know the primary.
        name: String,
        /// What is said to the primary, with the host of a sentinel in place of its own.
        primary: String,
    },
    /// Some nodes of a cluster.
    Cluster(Vec<String>),
}

/// Files for TLS.
#[derive(Clone, Default)]
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

/// What stands behind the question mark.
#[derive(Default)]
struct Settings {
    prefix: Option<String>,
    volatile: bool,
    replicas: usize,
    shards: Option<usize>,
    certificates: Certificates,
    sentinel_user: String,
    sentinel_password: String,
    /// For the driver, as it stands.
    driver: Vec<String>,
}

impl Address {
    /// # Errors
    /// One sentence that names what means nothing and what is known.
    pub(crate) fn read(address: &str) -> Result<Self> {
        let (url, query) = address.split_once('?').unwrap_or((address, ""));
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (format!("{login}@"), place),
            None => (String::new(), rest),
        };
        let location = if url.contains("://") {
            format!("{scheme}://{place}")
        } else {
            "redis address".into()
        };
        let refused = |problem: String| {
            Error::Invalid(format!(
                "the address of the task store {location} {problem}"
            ))
        };
        let settings = Settings::read(query, scheme).map_err(refused)?;
        let driver = if settings.driver.is_empty() {
            String::new()
        } else {
            format!("?{}", settings.driver.join("&"))
        };
        if url.contains('#') {
            return Err(refused("has a `#` in it, which is written %23".into()));
        }
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let servers = match kind {
            "sentinel" => {
                let (hosts, rest) = place.split_once('/').unwrap_or((place, ""));
                let (name, database) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(refused(format!(
                        "names no primary: write {scheme}://HOST:PORT,HOST:PORT/NAME, with the name by \
                         which the sentinels know it"
                    )));
                }
                let hosts = hosts_of(hosts, 26379).map_err(refused)?;
                let sentinel_login = login_of(&settings.sentinel_user, &settings.sentinel_password);
                let sentinel = |host: &String| format!("{base}://{sentinel_login}{host}");
                Servers::Sentinels {
                    sentinels: hosts.iter().map(sentinel).collect(),
                    name: name.to_owned(),
                    primary: format!("{base}://{login}{}/{database}{driver}", hosts[0]),
                }
            }
            "cluster" => {
                let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
                if !matches!(database, "" | "0") {
                    return Err(refused(format!(
                        "names the database {database:?}, and a cluster has none but 0: use `?prefix=` to \
                         keep servers apart"
                    )));
                }
                let hosts = hosts_of(hosts, 6379).map_err(refused)?;
                let node = |host: &String| format!("{base}://{login}{host}/{driver}");
                Servers::Cluster(hosts.iter().map(node).collect())
            }
            _ => Servers::One(format!("{url}{driver}")),
        };
        let files = &settings.certificates;
        if files.cert.is_some() != files.key.is_some() {
            return Err(refused(
                "names one of `cert` and `key`, which belong together".into(),
            ));
        }
        if !files.is_empty() && base != "rediss" {
            return Err(refused(
                "names certificates, which only rediss:// uses".into(),
            ));
        }
        let prefix = settings.prefix.unwrap_or_else(|| PREFIX.to_owned());
        Ok(Self {
            servers,
            location: if prefix == PREFIX {
                location
            } else {
                format!("{location} prefix {prefix}")
            },
            prefix,
            volatile: settings.volatile,
            replicas: settings.replicas,
            shards: settings.shards.unwrap_or(1),
            certificates: settings.certificates,
        })
    }
}

impl Address {
    /// The address of the keys under another name, as a part of this store.
    pub(crate) fn part(&self, prefix: String, words: &str) -> Self {
        Self {
            prefix,
            location: format!("{} {words}", self.location),
            ..self.clone()
        }
    }
}

impl Settings {
    fn read(query: &str, scheme: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let file = || Some(value.to_owned());
            match name {
                "prefix" if is_prefix(value) => read.prefix = Some(value.to_owned()),
                "prefix" => {
                    return Err(format!(
                        "says prefix {value:?}, which keys cannot begin with: use 1 to 64 letters, digits, \
                         `-`, `_` and `.`"
                    ));
                }
                "volatile" if matches!(value, "true" | "false") => read.volatile = value == "true",
                "wait_replicas" => {
                    let replicas = value.parse().ok().filter(|count| *count <= MOST_REPLICAS);
                    read.replicas = replicas.ok_or_else(|| {
                        format!(
                            "says wait_replicas {value:?}, which is no number from 0 to {MOST_REPLICAS}"
                        )
                    })?;
                }
                "shards" => {
                    let shards = value.parse().ok();
                    let shards = shards.filter(|count| (1..=MOST_SHARDS).contains(count));
                    read.shards = Some(shards.ok_or_else(|| {
                        format!("says shards {value:?}, which is no number from 1 to {MOST_SHARDS}")
                    })?);
                }
                "ca" if !value.is_empty() => read.certificates.ca = file(),
                "cert" if !value.is_empty() => read.certificates.cert = file(),
                "key" if !value.is_empty() => read.certificates.key = file(),
                "sentinel_user" if scheme.ends_with("+sentinel") => {
                    value.clone_into(&mut read.sentinel_user);
                }
                "sentinel_password" if scheme.ends_with("+sentinel") => {
                    value.clone_into(&mut read.sentinel_password);
                }
                "protocol" => read.driver.push(pair.to_owned()),
                // A socket's address has no other place for them.
                "db" | "pass" | "user" if scheme.ends_with("unix") => {
                    read.driver.push(pair.to_owned());
                }
                _ => {
                    return Err(format!(
                        "says {name:?}, which means nothing: known are `prefix=NAME`, `volatile=true`, \
                         `wait_replicas=NUMBER`, `shards=NUMBER`, with rediss:// `ca=FILE`, `cert=FILE` and `key=FILE`, and \
                         with redis+sentinel:// `sentinel_user=NAME` and `sentinel_password=PASSWORD`"
                    ));
                }
            }
        }
        Ok(read)
    }
}

/// The hosts of a list, each with its port.
fn hosts_of(list: &str, port: u16) -> Result<Vec<String>, String> {
    let hosts = list.split(',').map(|host| {
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        match host {
            "" => Err(format!(
                "names no host in {list:?}: write HOST:PORT, or several with commas between them"
            )),
            _ if has_port => Ok(host.to_owned()),
            _ => Ok(format!("{host}:{port}")),
        }
    });
    hosts.collect()
}

fn login_of(user: &str, password: &str) -> String {
    match (user, password) {
        ("", "") => String::new(),
        (user, password) => format!("{user}:{password}@"),
    }
}

fn is_prefix(prefix: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> String {
        match Address::read(address) {
            Ok(_) => panic!("{address} is refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sentinels_are_told_from_the_primary() {
        let read = Address::read(
            "redis+sentinel://ann:p%40ss@S1,s2:7,[::1]/main/3?sentinel_password=x&wait_replicas=1&protocol=3",
        )
        .unwrap();
        assert_eq!(read.location, "redis+sentinel://S1,s2:7,[::1]/main/3");
        assert_eq!(read.replicas, 1);
        let Servers::Sentinels {
            sentinels,
            name,
            primary,
        } = read.servers
        else {
            panic!("{:?}", read.servers);
        };
        assert_eq!(
            sentinels,
            [
                "redis://:x@S1:26379",
                "redis://:x@s2:7",
                "redis://:x@[::1]:26379"
            ]
        );
        assert_eq!(name, "main");
        assert_eq!(primary, "redis://ann:p%40ss@S1:26379/3?protocol=3");
    }

    #[test]
    fn each_node_of_a_cluster_has_the_same_login() {
        let read = Address::read("rediss+cluster://:pw@a,b:1?prefix=team&ca=f").unwrap();
        assert_eq!(read.location, "rediss+cluster://a,b:1 prefix team");
        let Servers::Cluster(nodes) = read.servers else {
            panic!("{:?}", read.servers);
        };
        assert_eq!(nodes, ["rediss://:pw@a:6379/", "rediss://:pw@b:1/"]);
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (address, named) in [
            ("redis+sentinel://a,b", "names no primary"),
            ("redis+sentinel://a,,b/main", "names no host"),
            ("redis+cluster://", "names no host"),
            ("redis+cluster://a/1", "the database \"1\""),
            ("redis+cluster://a?sentinel_user=x", "\"sentinel_user\""),
            ("redis://a?pass=x", "\"pass\""),
            ("redis://a?volatile=yes", "\"volatile\""),
            ("redis://a?wait_replicas=many", "\"many\""),
            ("redis://a?shards=0", "from 1 to 64"),
            ("redis://a?shards=65", "from 1 to 64"),
            ("redis+sentinel://a/m?cert=f", "belong together"),
            ("redis+sentinel://a/m?ca=f", "only rediss://"),
            ("rediss://a/#insecure", "%23"),
        ] {
            let said = refused(address);
            assert!(said.contains(named), "{address}: {said}");
        }
    }
}
