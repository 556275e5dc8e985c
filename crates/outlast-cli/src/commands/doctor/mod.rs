//! `outlast doctor`: looks at everything that a server of this configuration needs, and says what to do.
//!
//! Nothing of the server's own is changed: what is tried is tried in files of its own, beside the store. A
//! check that cannot be made says so, and is no failure.

mod disk;
mod redis;

use std::fs::DirBuilder;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use outlast::{Server, Settings, StoreUrl};
use outlast_cli::command::{Invocation, Launcher, RunFolder, RunState, Spec};
use outlast_cli::config::{FileConfig, ServerConfig};
use outlast_mcp::client::{Client, Target};
use serde_json::{Value, json};

use super::client::out;
use super::file::ConfigFile;
use super::install::{clients, edit};
use super::served;

/// How long something on this machine may take, however busy it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Find out whether a server of this configuration would run well here
///
/// Looks at the configuration, the store and its disk, the address, the key, the processes that run
/// commands, and the clients of this user. Each line says ok, warn or fail, and what to do. Exit status: 0 if
/// nothing failed, 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,

    /// Print JSON: one document with all checks
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Warn => 33,
            Self::Fail => 31,
        }
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    what: &'static str,
    level: Level,
    said: String,
    /// What to do about it.
    todo: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, said: impl Into<String>) -> Self {
        Self {
            what,
            level: Level::Ok,
            said: said.into(),
            todo: None,
        }
    }

    /// A warning that says itself what to do.
    fn hint(what: &'static str, said: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            ..Self::ok(what, said)
        }
    }

    fn warn(what: &'static str, said: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            todo: Some(todo.into()),
            ..Self::ok(what, said)
        }
    }

    fn fail(what: &'static str, said: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            todo: Some(todo.into()),
            ..Self::ok(what, said)
        }
    }
}

impl Doctor {
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                out::complain(&format!("outlast: cannot start: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let mut report = Report {
            json: self.json,
            findings: Vec::new(),
        };
        runtime.block_on(self.examine(&mut report));
        let failed = report.findings.iter().any(|one| one.level == Level::Fail);
        if self.json {
            let checks = report.findings.iter().map(|one| {
                json!({"check": one.what, "level": one.level.word(), "said": one.said, "todo": one.todo})
            });
            out::json(&json!({"ok": !failed, "checks": checks.collect::<Value>()}));
        }
        ExitCode::from(u8::from(failed))
    }

    async fn examine(&self, report: &mut Report) {
        let server = self.configuration(report);
        // What is wrong in the file was said above.
        let settings = served::settings_of(&server).unwrap_or_default();
        let settings = self.settings.clone().over(settings);
        let socket = self.store(&server, &settings, report);
        let running = match &socket {
            Some(socket) => running(socket).await,
            None => None,
        };
        match &running {
            Some(version) if version == env!("CARGO_PKG_VERSION") => {
                report.say(Finding::ok("server", format!("runs, version {version}")));
            }
            Some(version) => report.say(Finding::warn(
                "server",
                format!(
                    "runs, version {version}; this program is {}",
                    env!("CARGO_PKG_VERSION")
                ),
                "restart the server",
            )),
            None => report.say(Finding::ok("server", "does not run now")),
        }
        report.say(address(&settings, running.is_some()));
        report.say(shim().await);
        for finding in installed() {
            report.say(finding);
        }
    }

    fn configuration(&self, report: &mut Report) -> ServerConfig {
        const WHAT: &str = "configuration";
        let path = self.file.path();
        let file = path.display();
        if !path.exists() {
            report.say(Finding::fail(
                WHAT,
                format!("{file} is not there"),
                "write one with `outlast init`, or name one with --config FILE",
            ));
            return ServerConfig::default();
        }
        match FileConfig::load(&path) {
            Ok(config) => {
                let tools = config.tools.len();
                report.say(Finding::ok(WHAT, format!("{file} is good, {tools} tools")));
                for warning in config.warnings().into_iter().chain(config.missing()) {
                    report.say(Finding::hint("tool", warning));
                }
                report.say(match served::check(config, &self.settings) {
                    Ok(()) => Finding::ok("start", "nothing that is set stands against it"),
                    Err(sentence) => Finding::fail(
                        "start",
                        sentence,
                        "`serve` ends with these words, and so does `outlast check`",
                    ),
                });
            }
            Err(error) => {
                let todo = "mend it; `outlast check` looks at it alone";
                report.say(Finding::fail(WHAT, error.to_string(), todo));
            }
        }
        FileConfig::load_server(&path).unwrap_or_default()
    }

    /// Looks at the store; where the server's socket is.
    fn store(
        &self,
        server: &ServerConfig,
        settings: &Settings,
        report: &mut Report,
    ) -> Option<PathBuf> {
        const WHAT: &str = "store";
        let name = server.name.clone().unwrap_or_else(|| "outlast".to_owned());
        let socket = match Server::new(name.as_str()).socket_with(settings) {
            Ok(socket) => socket,
            Err(error) => {
                let todo = "name the store: [server] store = \"sqlite:PATH\"";
                report.say(Finding::fail(WHAT, error.to_string(), todo));
                return None;
            }
        };
        let base = socket.with_extension("");
        // With its password, which is printed nowhere.
        let named = settings.store.as_ref().and_then(StoreUrl::redis);
        match named {
            Some(address) => redis::examine(address, &name)
                .into_iter()
                .for_each(|one| report.say(one)),
            None => disk::examine(&base)
                .into_iter()
                .for_each(|one| report.say(one)),
        }
        report.say(key(&base));
        Some(socket)
    }
}

/// What was found, printed as it is.
struct Report {
    json: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn say(&mut self, finding: Finding) {
        if !self.json {
            let word = format!("{:4}", finding.level.word());
            let word = out::coloured(&word, finding.level.colour());
            let mut lines = finding.said.lines();
            let first = lines.next().unwrap_or_default();
            out::styled_line(&format!("{word}  {:14}", finding.what), first);
            lines.for_each(|line| out::line(&format!("      {:14}{line}", "")));
            if let Some(todo) = &finding.todo {
                out::line(&format!("      {:14}→ {todo}", ""));
            }
        }
        self.findings.push(finding);
    }
}

/// The version of the server behind a socket.
async fn running(socket: &Path) -> Option<String> {
    let connecting = async {
        let client = Client::connect(Target::unix(socket)).await.ok()?;
        let server = client.server().await.ok();
        client.close().await;
        server.map(|server| server.version)
    };
    tokio::time::timeout(PATIENCE, connecting).await.ok()?
}

/// The key that secrets are sealed with.
fn key(base: &Path) -> Finding {
    const WHAT: &str = "key";
    if std::env::var_os("OUTLAST_KEY").is_some() {
        return Finding::ok(WHAT, "is in the environment, OUTLAST_KEY");
    }
    let mut path = base.as_os_str().to_owned();
    path.push(".key");
    let path = PathBuf::from(path);
    let file = path.display();
    match std::fs::metadata(&path) {
        Err(_) => Finding::ok(
            WHAT,
            "none is needed yet; made when a tool has secret arguments",
        ),
        Ok(found) if found.permissions().mode() & 0o077 == 0 => {
            Finding::ok(WHAT, format!("{file} is for nobody else"))
        }
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            let said = format!("{file} can be read by others (mode {mode:o})");
            Finding::fail(WHAT, said, format!("chmod 600 {file}"))
        }
    }
}

/// The address that the server is to listen on.
fn address(settings: &Settings, running: bool) -> Finding {
    const WHAT: &str = "address";
    let listen = settings.listen.as_ref().map(ToString::to_string);
    let listen = listen.as_deref().unwrap_or("127.0.0.1:9876");
    if listen.starts_with("unix:") {
        return Finding::ok(WHAT, listen);
    }
    let addresses = match listen.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => {
            let said = format!("{listen} is unknown: {error}");
            return Finding::fail(WHAT, said, "write [server] listen = \"127.0.0.1:9876\"");
        }
    };
    for address in addresses {
        if let Err(error) = TcpListener::bind(address) {
            if running {
                return Finding::ok(WHAT, format!("{listen} is in use, and the server runs"));
            }
            let said = format!("{listen} cannot be listened on: {error}");
            return Finding::fail(
                WHAT,
                said,
                "stop who has it, or choose another with --listen",
            );
        }
    }
    Finding::ok(WHAT, format!("{listen} is free"))
}

/// Whether commands can be run: one is.
async fn shim() -> Finding {
    const WHAT: &str = "commands";
    let todo = "commands run under a small process of this program; make sure that it may start \
                programs here, and that the temporary folder can be written to";
    match run_true().await {
        Ok(took) => Finding::ok(WHAT, format!("one was run in {} ms", took.as_millis())),
        Err(problem) => Finding::fail(WHAT, problem, todo),
    }
}

async fn run_true() -> Result<Duration, String> {
    let text = |error: std::io::Error| error.to_string();
    let place = own_folder().map_err(text)?;
    let spec = Spec::new(Invocation {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        env: Vec::new(),
        secret_env: Vec::new(),
        working_dir: std::env::temp_dir(),
    });
    let begun = Instant::now();
    let folder = RunFolder::create(&place.join("1"), &spec).map_err(text)?;
    let launched = Launcher::this_program().and_then(|launcher| launcher.launch(&folder, &[]));
    let ended = match launched {
        Ok(mut child) => {
            let end = until_ended(&folder).await;
            let _ = child.wait().await;
            end
        }
        Err(error) => Err(error.to_string()),
    };
    // It is ours, and nothing is lost if it stays.
    let _ = std::fs::remove_dir_all(&place);
    ended.map(|()| begun.elapsed())
}

/// Makes a folder that was not there before, for this user alone. Everybody may lay things into the
/// temporary folder, so one that is there already may hold what somebody else wants to be run.
fn own_folder() -> std::io::Result<PathBuf> {
    let random = RandomState::new().build_hasher().finish();
    let name = format!("outlast-doctor-{}-{random:016x}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

async fn until_ended(folder: &RunFolder) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match folder.state() {
            Ok(RunState::Ended(_)) => return Ok(()),
            Ok(_) if Instant::now() < deadline => {}
            Ok(_) => return Err(format!("a command did not run: {}", folder.shim_says())),
            Err(error) => return Err(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Which clients of this user have a server of ours.
fn installed() -> Vec<Finding> {
    const WHAT: &str = "clients";
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for known in clients::ALL {
        let Ok(file) = known.user_file() else {
            continue;
        };
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let entries = match edit::entries(&known, &text) {
            Ok(entries) => entries,
            Err(problem) => {
                let said = format!("{}: {problem}", file.display());
                findings.push(Finding::warn(
                    WHAT,
                    said,
                    "its client cannot read it either; mend it",
                ));
                continue;
            }
        };
        for (name, entry) in entries {
            let Some(program) = entry["command"].as_str().map(Path::new) else {
                continue;
            };
            if program.file_name().is_none_or(|file| file != "outlast") {
                continue;
            }
            found.push(format!("{name} in {}", known.title));
            if program.is_absolute() && !program.exists() {
                let said = format!("{}: {} is gone", known.title, program.display());
                let todo = format!("outlast install {}", known.id);
                findings.push(Finding::warn(WHAT, said, todo));
            }
        }
    }
    let said = if found.is_empty() {
        "none starts this program; `outlast install CLIENT` lets one do so".to_owned()
    } else {
        found.join(", ")
    };
    findings.insert(0, Finding::ok(WHAT, said));
    findings
}
