//! A Redis of the bench's own, and its own account of what it does.
//!
//! It is asked over a plain socket, because the account must not depend on what it is an account of.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{Result, process::free_address};

/// How long it may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running server; dropping it kills it.
pub(crate) struct Redis {
    child: Child,
    address: SocketAddr,
    /// What it calls itself, with its version.
    pub(crate) name: String,
}

/// What a Redis has done so far, by its own account.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    /// Scripts that were called.
    pub(crate) scripts: f64,
    /// Commands, those that scripts called too.
    pub(crate) commands: f64,
    /// Microseconds inside scripts.
    pub(crate) script_micros: f64,
    /// Microseconds of CPU time in all.
    pub(crate) cpu_micros: f64,
    /// Bytes that came over the network.
    pub(crate) bytes_in: f64,
    /// Bytes that went there.
    pub(crate) bytes_out: f64,
}

impl Account {
    /// What came on top since `before`, for each of `units`.
    pub(crate) fn since(&self, before: &Self, units: f64) -> Self {
        self.with(before, |now, then| (now - then) / units)
    }

    /// This without `times` of another.
    pub(crate) fn without(&self, other: &Self, times: f64) -> Self {
        self.with(other, |all, part| (all - part * times).max(0.0))
    }

    fn with(&self, other: &Self, work: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            scripts: work(self.scripts, other.scripts),
            commands: work(self.commands, other.commands),
            script_micros: work(self.script_micros, other.script_micros),
            cpu_micros: work(self.cpu_micros, other.cpu_micros),
            bytes_in: work(self.bytes_in, other.bytes_in),
            bytes_out: work(self.bytes_out, other.bytes_out),
        }
    }

    /// In words.
    pub(crate) fn show(&self) -> String {
        format!(
            "{:.1} scripts of {:.0} commands, {:.0} µs in scripts, {:.0} µs CPU, {:.0} bytes in and {:.0} out",
            self.scripts,
            self.commands - self.scripts,
            self.script_micros,
            self.cpu_micros,
            self.bytes_in,
            self.bytes_out
        )
    }
}

impl Redis {
    /// Starts a server that writes everything down, to the disk every second, as Debian's does when it is
    /// told to keep an append-only file.
    ///
    /// # Errors
    /// It is not installed, or does not answer.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--dir",
            ])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}; run `scripts/setup redis`"))?;
        let mut redis = Self {
            child,
            address,
            name: String::new(),
        };
        let began = Instant::now();
        while redis.call(&["PING"]).is_err() {
            if began.elapsed() > START_DEADLINE {
                return Err(
                    format!("redis-server does not answer after {START_DEADLINE:?}").into(),
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let info = redis.call(&["INFO", "server"])?;
        redis.name = format!("Redis {}", field(&info, "redis_version"));
        Ok(redis)
    }

    /// The address of a store of ours.
    pub(crate) fn store(&self, prefix: &str) -> String {
        format!("redis://{}?prefix={prefix}", self.address)
    }

    /// The address of a database for others.
    pub(crate) fn database(&self, number: u32) -> String {
        format!("redis://{}/{number}", self.address)
    }

    /// What it has done so far.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn account(&self) -> Result<Account> {
        let info = self.call(&["INFO", "everything"])?;
        let number = |name: &str| field(&info, name).parse::<f64>().unwrap_or(0.0);
        let mut account = Account {
            commands: number("total_commands_processed"),
            cpu_micros: (number("used_cpu_sys") + number("used_cpu_user")) * 1e6,
            bytes_in: number("total_net_input_bytes"),
            bytes_out: number("total_net_output_bytes"),
            ..Account::default()
        };
        for script in ["evalsha", "evalsha_ro", "eval", "fcall", "fcall_ro"] {
            let line = field(&info, &format!("cmdstat_{script}"));
            let part = |name: &str| {
                let mut parts = line.split(',').filter_map(|part| part.strip_prefix(name));
                parts.next().and_then(|number| number.parse().ok())
            };
            account.scripts += part("calls=").unwrap_or(0.0);
            account.script_micros += part("usec=").unwrap_or(0.0);
        }
        Ok(account)
    }

    /// Bytes of memory in use.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn memory(&self) -> Result<f64> {
        let info = self.call(&["INFO", "memory"])?;
        Ok(field(&info, "used_memory").parse()?)
    }

    /// The members of a sorted set.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn members(&self, set: &str) -> Result<u64> {
        Ok(self.call(&["ZCARD", set])?.parse()?)
    }

    /// Calls a command whose answer is a number, a word or one text.
    fn call(&self, words: &[&str]) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_DEADLINE))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", rest)) => Ok(rest.to_owned()),
            Some(("$", length)) => {
                let mut text = vec![0; length.parse()?];
                reader.read_exact(&mut text)?;
                Ok(String::from_utf8(text)?)
            }
            _ => Err(format!("Redis answers {words:?} with {line:?}").into()),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands behind a name in INFO; empty if nothing does.
fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| *key == name);
    found.map_or("", |(_, value)| value.trim())
}
