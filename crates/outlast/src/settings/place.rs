//! Where the store is when nobody says, and where a server keeps what belongs to its machine when its
//! tasks are elsewhere.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/outlast/<server name>/outlast.db`, or below `~/.local/state`.
///
/// # Errors
/// Neither the variable nor a home folder is known; the sentence says what to give instead.
pub(crate) fn usual_store(server: &str) -> Result<PathBuf, String> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .and_then(absolute);
    let home = || {
        let home = std::env::home_dir().and_then(absolute)?;
        Some(home.join(".local").join("state"))
    };
    match state.or_else(home) {
        Some(state) => Ok(state.join("outlast").join(folder_name(server)).join("outlast.db")),
        None => Err(
            "cannot tell where to keep tasks: no home folder is known; say so with --store sqlite:PATH"
                .into(),
        ),
    }
}

/// What stands beside the tasks of a server whose store is at `address`: its socket, its key and the
/// folders of its commands. The same for every server of that store on this machine, whoever it logs in as:
/// a new password must not make it lose its commands and its key.
///
/// # Errors
/// As [`usual_store`].
pub(crate) fn beside_store(server: &str, address: &str) -> Result<PathBuf, String> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(store_in(address).as_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(usual_store(server)?.with_file_name(format!("redis-{name}")))
}

/// What names the store in the address of a Redis: hosts and ports or socket, database and prefix.
fn store_in(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("redis", address));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let asked = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == wanted).then_some(value))
    };
    let (place, database) = if scheme.ends_with("unix") {
        (place.to_owned(), asked("db"))
    } else {
        let (hosts, rest) = place.split_once('/').unwrap_or((place, ""));
        // Sentinels are told which of the servers that they watch is meant.
        let (name, database, port) = if scheme.ends_with("sentinel") {
            let (name, database) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("/{name}"), database, 26379)
        } else {
            (String::new(), rest, 6379)
        };
        let mut hosts: Vec<_> = hosts.split(',').map(|host| with_port(host, port)).collect();
        hosts.sort_unstable();
        let place = format!("{}{name}", hosts.join(","));
        (
            place,
            Some(database).filter(|database| !database.is_empty()),
        )
    };
    let (database, prefix) = (
        database.unwrap_or("0"),
        asked("prefix").unwrap_or("outlast"),
    );
    format!("{place} {database} {prefix}")
}

/// A host as it is written in one way.
fn with_port(host: &str, port: u16) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let host = host.to_ascii_lowercase();
    if has_port {
        host
    } else {
        format!("{host}:{port}")
    }
}

/// The server's name as the name of a folder.
fn folder_name(server: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = server
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    match name.trim_start_matches('.') {
        "" => "server".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{folder_name, store_in};

    #[test]
    fn a_store_is_the_same_whoever_logs_in() {
        for same in [
            "redis://r",
            "redis://R:6379/",
            "redis://:old@r",
            "redis://user:p%40ss@r:6379/0",
            "rediss://r?volatile=true",
            "redis://r?prefix=outlast&protocol=resp3",
        ] {
            assert_eq!(store_in(same), "r:6379 0 outlast", "{same}");
        }
        let sockets = [
            "redis+unix:///run/r.sock?pass=a",
            "unix:///run/r.sock?db=0&pass=b",
        ];
        for same in sockets {
            assert_eq!(store_in(same), "/run/r.sock 0 outlast", "{same}");
        }
        for same in [
            "redis+sentinel://b,a:26379/main",
            "rediss+sentinel://:pw@A,B/main/0?sentinel_password=x",
        ] {
            assert_eq!(store_in(same), "a:26379,b:26379/main 0 outlast", "{same}");
        }
        for other in [
            "redis+sentinel://r/main",
            "redis+sentinel://r/other",
            "redis+cluster://r,s",
            "redis://r:6380",
            "redis://s",
            "redis://r/1",
            "redis://r?prefix=x",
            "redis://[::1]",
            "unix:///run/r.sock?db=1",
        ] {
            assert_ne!(store_in(other), store_in("redis://r"), "{other}");
            assert_ne!(store_in(other), store_in("unix:///run/r.sock"), "{other}");
        }
        assert_eq!(store_in("redis://[::1]"), store_in("redis://[::1]:6379"));
    }

    #[test]
    fn a_server_cannot_leave_its_folder() {
        assert_eq!(folder_name("team-scripts"), "team-scripts");
        assert_eq!(folder_name("../../etc"), "-..-etc");
        assert_eq!(folder_name(".."), "server");
        assert_eq!(folder_name("a b/c"), "a-b-c");
    }
}
