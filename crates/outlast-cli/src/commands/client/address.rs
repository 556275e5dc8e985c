//! Which server is meant, and the connection to it.
//!
//! Said on the command line, it is that one and no other. Said by nobody, it is the server on this
//! machine: the one that the configuration file in this folder describes, through its store's socket, where
//! tasks can be listed; else the address for HTTP, if the server there has the name that the file says: another
//! project's server may have come first to a port that both would have. Of the file only `[server]` is read: a server goes on
//! while somebody is at work on the rest.

use std::path::PathBuf;

use clap::Args;
use outlast::{Server, Settings};
use outlast_cli::config::{FILE_NAME, FileConfig, ServerConfig};
use outlast_mcp::client::{Client, ClientBuilder, ClientError, Protocol, Reply, Target};

use super::bar::Bar;
use super::exit::{Exit, Trouble};
use super::prompt;

/// Where a server listens when nobody says.
const USUAL_ADDRESS: &str = "127.0.0.1:9876";

/// Which server to talk to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Address {
    /// The server at this address, http://HOST:PORT/mcp [env: OUTLAST_URL]
    #[arg(long, value_name = "URL", global = true, conflicts_with_all = ["command", "store"])]
    url: Option<String>,

    /// The server of this store on this machine, sqlite:PATH [env: OUTLAST_STORE]
    #[arg(long, value_name = "URL", global = true, conflicts_with = "command")]
    store: Option<String>,

    /// A server to start for this: a program and its arguments, up to the end of the line
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true, global = true)]
    command: Option<Vec<String>>,

    /// The configuration file whose server is meant if nothing else says [default: outlast.toml]
    #[arg(
        long,
        short,
        env = "OUTLAST_CONFIG",
        value_name = "FILE",
        global = true
    )]
    config: Option<PathBuf>,

    /// An HTTP header for the server, "Name: value"; may be repeated. A bearer token is better given in
    /// the environment, as OUTLAST_TOKEN: other users of a machine see its command lines
    #[arg(long, value_name = "HEADER", global = true)]
    header: Vec<String>,

    /// The version of the protocol: auto, 2026-07-28, or 2025-11-25 (and what older ones a server
    /// offers instead)
    #[arg(long, value_name = "VERSION", default_value = "auto", value_parser = protocol, global = true)]
    protocol: Protocol,

    /// Print JSON: one document, or one on each line where there is no end in sight
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "auto" => Ok(Protocol::Auto),
        "2026-07-28" => Ok(Protocol::Modern),
        "2025-11-25" => Ok(Protocol::Legacy),
        _ => Err("write auto, 2026-07-28 or 2025-11-25".to_owned()),
    }
}

/// What a subcommand needs of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Nothing in particular.
    Any,
    /// A list of tasks, which 2025-11-25 alone has.
    TaskList,
    /// Somebody at the terminal who answers the server's questions.
    Answers,
    /// To see questions, which are shown to those only who may be asked; nobody is asked by itself.
    Questions,
}

impl Address {
    /// Connects.
    pub(crate) async fn connect(&self, need: Need, bar: &Bar) -> Result<Client, Trouble> {
        let said = self.url.is_some() || self.store.is_some() || self.command.is_some();
        if said {
            return Ok(self.set_up(self.said()?, need, bar)?.connect().await?);
        }
        let mut tried = Vec::new();
        for Place { target, name } in self.unsaid()? {
            match self.set_up(target.clone(), need, bar)?.connect().await {
                Err(ClientError::Connect { reason, .. }) => {
                    tried.push(format!("{target}: {reason}"))
                }
                other => {
                    let client = other?;
                    if let Some(name) = name {
                        let there = client.server().await?.name;
                        if there != name {
                            return Err(another(&target, &there, &name));
                        }
                    }
                    return Ok(client);
                }
            }
        }
        let tried = tried.join("\n  ");
        Err(Trouble::new(
            Exit::NoConnection,
            format!(
                "no server found; start one with `outlast serve`, or say where it is with --url or \
                 --store. Tried:\n  {tried}"
            ),
        ))
    }

    fn set_up(&self, target: Target, need: Need, bar: &Bar) -> Result<ClientBuilder, Trouble> {
        let mut builder = Client::builder(target)
            .name("outlast-cli", env!("CARGO_PKG_VERSION"))
            .protocol(match (need, self.protocol) {
                (Need::TaskList, Protocol::Auto) => Protocol::Legacy,
                (_, protocol) => protocol,
            });
        let token = std::env::var("OUTLAST_TOKEN").ok();
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        for header in &self.header {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                Trouble::usage(format!("--header {header:?}: write it as \"Name: value\""))
            })?;
            builder = builder.header(name.trim(), value.trim());
        }
        if need == Need::Answers && prompt::is_possible() {
            let bar = bar.clone();
            let of_urls = bar.clone();
            // Somebody who waits for this question is told that nobody will answer it.
            let dismissed = |said: Option<Reply>| said.unwrap_or(Reply::Cancel);
            builder = builder
                .on_question(move |question| {
                    let asking = prompt::ask(question, bar.clone());
                    async move { dismissed(asking.await) }
                })
                .on_url(move |question| {
                    let asking = prompt::send(question, of_urls.clone());
                    async move { dismissed(asking.await) }
                });
        }
        if need == Need::Questions {
            builder = builder
                .on_question(async |_| Reply::Cancel)
                .on_url(async |_| Reply::Cancel);
        }
        Ok(builder)
    }

    /// The server the command line names.
    fn said(&self) -> Result<Target, Trouble> {
        if let Some(url) = &self.url {
            return Ok(url.parse()?);
        }
        if let Some([program, arguments @ ..]) = self.command.as_deref() {
            return Ok(Target::command(program, arguments));
        }
        let server = self.in_file()?.unwrap_or_default();
        socket(self.store.as_deref().unwrap_or_default(), server)
    }

    /// The servers to look for when the command line names none, best first.
    fn unsaid(&self) -> Result<Vec<Place>, Trouble> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(url) = variable("OUTLAST_URL") {
            let target = url.parse();
            let target = target.map_err(|error| Trouble::usage(format!("OUTLAST_URL: {error}")))?;
            return Ok(vec![Place::meant(target)]);
        }
        if let Some(store) = variable("OUTLAST_STORE") {
            let server = self.in_file()?.unwrap_or_default();
            return Ok(vec![Place::meant(socket(&store, server)?)]);
        }
        let mut places = Vec::new();
        let in_file = self.in_file()?;
        if let Some(server) = &in_file {
            places.push(Place::meant(Target::unix(of_file(server)?)));
        }
        let server = in_file.unwrap_or_default();
        let listen = match server.listen.as_deref() {
            Some(listen) => reachable(listen),
            None => Some(USUAL_ADDRESS.to_owned()),
        };
        let path = server.mcp_path.as_deref().unwrap_or("/mcp");
        places.extend(listen.map(|listen| Place {
            target: Target::url(format!("http://{listen}{path}")),
            name: server.name,
        }));
        Ok(places)
    }

    /// The server that the configuration file describes, if there is one.
    fn in_file(&self) -> Result<Option<ServerConfig>, Trouble> {
        let file = self.config.clone().unwrap_or_else(|| FILE_NAME.into());
        if self.config.is_none() && !file.exists() {
            return Ok(None);
        }
        let loaded = FileConfig::load_server(&file);
        let server = loaded.map_err(|error| Trouble::usage(error.to_string()))?;
        Ok(Some(server))
    }
}

/// Where a server may be.
struct Place {
    target: Target,
    /// What the server there must be called to be the one that is meant; `None`: whatever it is called.
    name: Option<String>,
}

impl Place {
    /// No other server can be there.
    fn meant(target: Target) -> Self {
        Self { target, name: None }
    }
}

fn another(target: &Target, there: &str, name: &str) -> Trouble {
    Trouble::new(
        Exit::NoConnection,
        format!(
            "the server at {target} is {there:?}, not the {name:?} of the configuration file; start that one \
             with `outlast serve`, or say with --url that the other is meant"
        ),
    )
}

/// The socket of the server that a configuration file describes.
fn of_file(server: &ServerConfig) -> Result<PathBuf, Trouble> {
    let store = server.store.as_deref().map(str::parse).transpose();
    let settings = Settings {
        store: store.map_err(Trouble::usage)?,
        ..Settings::default()
    };
    let server = Server::new(server.name.clone().unwrap_or_default());
    let socket = server.socket_with(&settings);
    socket.map_err(|error| Trouble::usage(error.to_string()))
}

/// The socket of the server whose tasks are in `store`; `server` is what else is known of it.
fn socket(store: &str, mut server: ServerConfig) -> Result<Target, Trouble> {
    server.store = Some(store.to_owned());
    Ok(Target::unix(of_file(&server)?))
}

/// The address a client connects to for one a server listens on; none for a port of its own choice, and
/// for a socket.
fn reachable(listen: &str) -> Option<String> {
    if listen.starts_with("unix:") {
        return None;
    }
    let (host, port) = listen.rsplit_once(':')?;
    if port == "0" {
        return None;
    }
    let host = match host {
        "0.0.0.0" | "" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_become_addresses_to_connect_to() {
        assert_eq!(
            reachable("127.0.0.1:7000").as_deref(),
            Some("127.0.0.1:7000")
        );
        assert_eq!(reachable("0.0.0.0:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(reachable("[::]:1").as_deref(), Some("[::1]:1"));
        assert_eq!(reachable("127.0.0.1:0"), None);
        assert_eq!(reachable("unix:/run/a:1"), None);
    }

    #[test]
    fn a_store_has_its_socket_beside_it() {
        let socket = |store| socket(store, ServerConfig::default());
        assert_eq!(
            socket("sqlite:/a/b.db").unwrap().to_string(),
            "unix:/a/b.db.sock"
        );
        // On this machine there may be a server of a Redis as well; its password is shown to nobody.
        let redis = socket("redis://:hunter2@team").unwrap().to_string();
        assert!(
            redis.starts_with("unix:") && !redis.contains("hunter2"),
            "{redis}"
        );
        assert!(socket("sqlite:").is_err());
    }
}
