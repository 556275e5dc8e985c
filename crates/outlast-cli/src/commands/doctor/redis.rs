//! A store in Redis or Valkey: whether it answers, and whether it keeps what it is told.
//!
//! Asked in its own protocol, with a few words and no library: nothing is written, and the store is not opened.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Finding;

const WHAT: &str = "store";

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn examine(address: &str) -> Vec<Finding> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Vec::new();
    };
    if !matches!(scheme, "redis" | "valkey") {
        let said = format!("{scheme}: is not looked at here");
        let todo = "ask it yourself for INFO persistence: aof_enabled should be 1";
        return vec![Finding::warn(WHAT, said, todo)];
    }
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    let (login, host) = match rest.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, rest),
    };
    match info(login, host) {
        Ok(info) => judge(host, &info),
        Err(problem) => vec![Finding::fail(
            WHAT,
            format!("{host}: {problem}"),
            "start it, or mend [server] store",
        )],
    }
}

fn info(login: Option<&str>, host: &str) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let host = if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:6379")
    };
    let address = host.to_socket_addrs().map_err(text)?.next();
    let address = address.ok_or("no address is known for it")?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let mut stream = BufReader::new(stream);
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or(("", login));
        let words: &[&str] = if user.is_empty() {
            &["AUTH", password]
        } else {
            &["AUTH", user, password]
        };
        ask(&mut stream, words)?;
    }
    ask(&mut stream, &["INFO"])
}

/// Sends a command and reads its answer, a line or a text.
fn ask(stream: &mut BufReader<TcpStream>, words: &[&str]) -> Result<String, String> {
    /// The most that INFO may say.
    const LARGEST: usize = 1024 * 1024;
    let text = |error: std::io::Error| error.to_string();
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream
        .get_mut()
        .write_all(command.as_bytes())
        .map_err(text)?;
    let mut line = String::new();
    stream
        .by_ref()
        .take(4096)
        .read_line(&mut line)
        .map_err(text)?;
    let line = line.trim_end();
    if let Some(error) = line.strip_prefix('-') {
        return Err(error.to_owned());
    }
    let Some(length) = line.strip_prefix('$') else {
        return Ok(line.trim_start_matches('+').to_owned());
    };
    let length = length
        .parse::<usize>()
        .ok()
        .filter(|length| *length <= LARGEST);
    let mut body = vec![0; length.ok_or("it answers in a way that is not understood")? + 2];
    stream.read_exact(&mut body).map_err(text)?;
    body.truncate(body.len() - 2);
    String::from_utf8(body).map_err(|error| error.to_string())
}

/// What its own words say about how it keeps tasks.
fn judge(host: &str, info: &str) -> Vec<Finding> {
    let of = |name: &str| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let version = of("valkey_version")
        .or(of("redis_version"))
        .unwrap_or("of an unknown version");
    let mut findings = vec![Finding::ok(WHAT, format!("{host} answers, {version}"))];
    if of("aof_enabled") != Some("1") {
        findings.push(Finding::fail(
            "durability",
            "it keeps no append-only file: tasks are lost when it restarts",
            "CONFIG SET appendonly yes, and the same in its configuration",
        ));
    } else {
        findings.push(Finding::ok("durability", "it keeps an append-only file"));
    }
    match of("maxmemory_policy") {
        Some("noeviction") | None => {}
        Some(policy) => findings.push(Finding::fail(
            "memory",
            format!("its maxmemory-policy is {policy}: tasks are thrown away when it is full"),
            "CONFIG SET maxmemory-policy noeviction",
        )),
    }
    if of("role") == Some("slave") {
        findings.push(Finding::fail(
            WHAT,
            "it is a replica and takes no writes",
            "name its primary",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::super::Level;
    use super::*;

    #[test]
    fn its_own_words_are_judged() {
        let good = "redis_version:7.2.4\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
        assert!(judge("h", good).iter().all(|one| one.level == Level::Ok));
        let bad =
            "redis_version:7\r\nrole:slave\r\naof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        let failed = judge("h", bad)
            .into_iter()
            .filter(|one| one.level == Level::Fail);
        assert_eq!(failed.count(), 3);
    }

    #[test]
    fn it_is_asked_in_its_own_protocol() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut words = |count: usize| -> Vec<String> {
                (0..count)
                    .map(|_| {
                        let mut line = String::new();
                        reader.read_line(&mut line).unwrap();
                        line.trim_end().to_owned()
                    })
                    .collect()
            };
            assert_eq!(words(7), ["*3", "$4", "AUTH", "$1", "u", "$1", "p"]);
            stream.write_all(b"+OK\r\n").unwrap();
            assert_eq!(words(3), ["*1", "$4", "INFO"]);
            stream.write_all(b"$15\r\naof_enabled:1\r\n\r\n").unwrap();
        });
        let found = examine(&format!("redis://u:p@{address}/3?x=y"));
        server.join().unwrap();
        assert!(found.iter().all(|one| one.level == Level::Ok), "{found:?}");
        let gone = examine(&format!("redis://{address}"));
        assert_eq!(gone[0].level, Level::Fail);
    }
}
