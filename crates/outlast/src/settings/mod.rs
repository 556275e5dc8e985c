//! Settings: one struct for the command line, the environment, an application's own file, and code.
//!
//! Every field is an `Option`: what is absent is absent, so that layers can be put over one another
//! ([`Settings::over`]): flag over environment over file over default. A value that cannot hold is an
//! error where it is read, never a silent default.

pub(crate) mod place;
mod sense;
mod values;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use outlast_engine::{DetachAfter, TaskSupport};
use outlast_http::WebhookSettings;
use outlast_http::auth::AuthSettings;
use outlast_mcp::Helpers;
use serde::Deserialize;

use crate::declared::TagFilter;
pub(crate) use sense::check;
pub(crate) use values::StoreAt;
pub use values::{Collector, Listen, LogFormat, LogLevel, StdioMode, StoreUrl, Synchronous};

/// How a server runs. All of it is optional.
///
/// | field | flag | environment | default |
/// |---|---|---|---|
/// | `listen` | `--listen HOST:PORT\|unix:PATH` | `OUTLAST_LISTEN` | `127.0.0.1:9876`; with `--stdio`, nowhere |
/// | `stdio` | `--stdio[=bridge\|inline]` | `OUTLAST_STDIO` | HTTP |
/// | `store` | `--store sqlite:PATH`, `--store redis://HOST` | `OUTLAST_STORE` | `$XDG_STATE_HOME/outlast/<server name>/outlast.db` |
/// | `synchronous` | `--synchronous full\|normal` | `OUTLAST_SYNCHRONOUS` | `full` |
/// | `task` | `--task forbidden\|optional\|required` | `OUTLAST_TASK` | each tool's own word, else `forbidden` |
/// | `retention` | `--retention TIME` | `OUTLAST_RETENTION` | 24 hours |
/// | `detach_after` | `--detach-after TIME\|never` | `OUTLAST_DETACH_AFTER` | 45 s |
/// | `heartbeat` | `--heartbeat TIME` | `OUTLAST_HEARTBEAT` | 5 s |
/// | `helpers` | `--helpers auto\|always\|never` | `OUTLAST_HELPERS` | `auto` |
/// | `concurrency` | `--concurrency N` | `OUTLAST_CONCURRENCY` | 64 |
/// | `lease` | `--lease TIME` | `OUTLAST_LEASE` | 30 s |
/// | `no_worker_timeout` | `--no-worker-timeout TIME` | `OUTLAST_NO_WORKER_TIMEOUT` | tasks wait |
/// | `worker_labels` | `--worker-label LABEL` | `OUTLAST_WORKER_LABEL` | none |
/// | `health` | `--health ADDRESS` | `OUTLAST_HEALTH` | no listener of its own |
/// | `health_metrics` | `--health-metrics` | `OUTLAST_HEALTH_METRICS` | no |
/// | `shutdown_grace` | `--shutdown-grace TIME` | `OUTLAST_SHUTDOWN_GRACE` | 10 s |
/// | `idle_exit` | `--idle-exit TIME` | `OUTLAST_IDLE_EXIT` | 10 minutes; only behind `--stdio` |
/// | `allowed_hosts` | `--allow-host NAME` | `OUTLAST_ALLOW_HOST` | loopback names |
/// | `allowed_origins` | `--allow-origin ORIGIN` | `OUTLAST_ALLOW_ORIGIN` | loopback origins |
/// | `mcp_path` | `--mcp-path PATH` | `OUTLAST_MCP_PATH` | `/mcp` |
/// | `public_url` | `--public-url URL` | `OUTLAST_PUBLIC_URL` | the address a request came to |
/// | `default_tool` | `--default-tool NAME` | `OUTLAST_DEFAULT_TOOL` | none |
/// | `max_connections` | `--max-connections N` | `OUTLAST_MAX_CONNECTIONS` | 10,000 |
/// | `max_sessions` | `--max-sessions N` | `OUTLAST_MAX_SESSIONS` | 10,000 |
/// | `max_streams` | `--max-streams N` | `OUTLAST_MAX_STREAMS` | 10,000 |
/// | `allow_unauthenticated` | `--allow-unauthenticated` | `OUTLAST_ALLOW_UNAUTHENTICATED` | no |
/// | `auth.tokens` | `--auth-tokens FILE` | `OUTLAST_AUTH_TOKENS` | no users |
/// | `auth.resource` | `--auth-resource URL` | `OUTLAST_AUTH_RESOURCE` | the address a request came to |
/// | `auth.authorization_servers` | `--authorization-server URL` | `OUTLAST_AUTHORIZATION_SERVER` | none |
/// | `include_tags` | `--include-tag TAG` | `OUTLAST_INCLUDE_TAG` | everything is offered |
/// | `exclude_tags` | `--exclude-tag TAG` | `OUTLAST_EXCLUDE_TAG` | nothing is left out |
/// | `webhooks.hosts` | `--webhook-host NAME` | `OUTLAST_WEBHOOK_HOST` | callers name none |
/// | `webhooks.private` | `--webhook-private` | `OUTLAST_WEBHOOK_PRIVATE` | no |
/// | `webhooks.secret` | `--webhook-secret env:NAME\|file:PATH` | `OUTLAST_WEBHOOK_SECRET` | each webhook's own |
/// | `log_level` | `--log-level LEVEL` | `OUTLAST_LOG_LEVEL` | `info` |
/// | `log_format` | `--log-format text\|json` | `OUTLAST_LOG_FORMAT` | `text` |
/// | `otlp_endpoint` | `--otlp-endpoint URL` | `OUTLAST_OTLP_ENDPOINT` | `OTEL_EXPORTER_OTLP_ENDPOINT`, else nothing is sent |
///
/// Times are a number and a unit (`500ms`, `30s`, `10m`, `2h`, `7d`) or several (`1h 30m`).
///
/// By hand:
///
/// ```
/// use outlast::Settings;
///
/// let settings = Settings {
///     listen: Some("127.0.0.1:7000".parse()?),
///     store: Some("sqlite:/var/lib/reports/tasks.db".parse()?),
///     ..Settings::default()
/// };
/// # let _ = settings;
/// # Ok::<(), String>(())
/// ```
///
/// From an application's own file, with serde; unknown keys are refused:
///
/// ```
/// # use outlast::Settings;
/// # let text = r#"{"listen": "127.0.0.1:7000", "shutdown_grace": "1m"}"#;
/// let settings: Settings = serde_json::from_str(text)?;
/// # assert_eq!(settings.shutdown_grace, Some(std::time::Duration::from_secs(60)));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// In an application's own command line, with [`clap`](https://docs.rs/clap); then give them to
/// [`crate::Server::run_with`]:
///
/// ```
/// #[derive(clap::Parser)]
/// struct Cli {
///     #[arg(long)]
///     database: Option<String>,
///     #[command(flatten)]
///     server: outlast::Settings,
/// }
/// # use clap::Parser;
/// let cli = Cli::parse_from(["reports", "--listen", "127.0.0.1:7000"]);
/// assert!(cli.server.listen.is_some());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Server")]
#[group(skip)]
pub struct Settings {
    /// Address for HTTP, HOST:PORT, where port 0 takes a free one; or unix:PATH, a socket on which the
    /// user at the other end is the owner [default: 127.0.0.1:9876]
    #[arg(long, env = "OUTLAST_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<Listen>,

    /// Serve on standard input and output: by way of the one server of the store, which is started
    /// if it does not run (bridge), or in this process (inline)
    #[arg(long, env = "OUTLAST_STDIO", value_name = "MODE", num_args = 0..=1,
          require_equals = true, default_missing_value = "bridge")]
    pub stdio: Option<StdioMode>,

    /// Where tasks are kept, sqlite:PATH or redis://HOST [default: in the user's state folder]
    #[arg(
        long,
        env = "OUTLAST_STORE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub store: Option<StoreUrl>,

    /// What an acknowledged write survives: loss of power too (full), or kill -9 only (normal)
    /// [default: full]
    #[arg(long, env = "OUTLAST_SYNCHRONOUS", value_name = "MODE")]
    pub synchronous: Option<Synchronous>,

    /// Whether tools that say nothing themselves run as tasks: forbidden, optional or required
    #[arg(long, env = "OUTLAST_TASK", value_name = "MODE", value_parser = values::task_support)]
    pub task: Option<TaskSupport>,

    /// How long finished tasks are kept where a tool says nothing itself [default: 1d]
    #[arg(long, env = "OUTLAST_RETENTION", value_name = "TIME", value_parser = values::retention)]
    #[serde(deserialize_with = "values::retention_in_file")]
    pub retention: Option<Duration>,

    /// When a call that still runs is answered with the id of its task: a time, 0s for at once, or
    /// never [default: 45s]
    #[arg(long, env = "OUTLAST_DETACH_AFTER", value_name = "TIME")]
    pub detach_after: Option<DetachAfter>,

    /// How often a call that still runs says so [default: 5s]
    #[arg(long, env = "OUTLAST_HEARTBEAT", value_name = "TIME", value_parser = values::heartbeat)]
    #[serde(deserialize_with = "values::heartbeat_in_file")]
    pub heartbeat: Option<Duration>,

    /// Who is offered the tools task_wait, task_status and so on: clients that may need them (auto),
    /// all (always) or none (never) [default: auto]
    #[arg(long, env = "OUTLAST_HELPERS", value_name = "WHO")]
    pub helpers: Option<Helpers>,

    /// How many tasks run at a time; 0 for a server that leaves them all to workers [default: 64]
    #[arg(long, env = "OUTLAST_CONCURRENCY", value_name = "N")]
    pub concurrency: Option<usize>,

    /// How long a worker that shares its store may be silent before its tasks are taken from it and
    /// started anew elsewhere [default: 30s]
    #[arg(long, env = "OUTLAST_LEASE", value_name = "TIME", value_parser = values::lease)]
    #[serde(deserialize_with = "values::lease_in_file")]
    pub lease: Option<Duration>,

    /// For how long no living worker may run the tool of a task that stands ready, until the task fails;
    /// without it, it waits for a worker
    #[arg(
        long,
        env = "OUTLAST_NO_WORKER_TIMEOUT",
        value_name = "TIME",
        value_parser = outlast_core::duration::parse
    )]
    #[serde(deserialize_with = "values::time")]
    pub no_worker_timeout: Option<Duration>,

    /// What this process is labelled with as a worker, such as gpu or region=eu, for tools that require
    /// it; may be repeated
    #[arg(
        long = "worker-label",
        env = "OUTLAST_WORKER_LABEL",
        value_name = "LABEL",
        value_delimiter = ',',
        value_parser = outlast_engine::worker_label
    )]
    #[serde(deserialize_with = "values::worker_labels_in_file")]
    pub worker_labels: Option<Vec<String>>,

    /// Answer /health/live and /health/ready there, and nothing else, for probes of whoever runs it:
    /// IP:PORT
    #[arg(long, env = "OUTLAST_HEALTH", value_name = "ADDRESS")]
    pub health: Option<SocketAddr>,

    /// Answer /metrics there too, without a token, with the names of tools and how much each is used: for
    /// Prometheus, to which each worker tells what it has run itself
    #[arg(long, env = "OUTLAST_HEALTH_METRICS", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    pub health_metrics: Option<bool>,

    /// How long a clean stop waits for running work [default: 10s]
    #[arg(long, env = "OUTLAST_SHUTDOWN_GRACE", value_name = "TIME", value_parser = outlast_core::duration::parse)]
    #[serde(deserialize_with = "values::time")]
    pub shutdown_grace: Option<Duration>,

    /// After how long without clients and unfinished tasks a server behind --stdio ends [default: 10m]
    #[arg(long, env = "OUTLAST_IDLE_EXIT", value_name = "TIME", value_parser = outlast_core::duration::parse)]
    #[serde(deserialize_with = "values::time")]
    pub idle_exit: Option<Duration>,

    /// Offer only tools, prompts and resources with this tag; may be repeated, then one of them is enough
    #[arg(
        long = "include-tag",
        env = "OUTLAST_INCLUDE_TAG",
        value_name = "TAG",
        value_delimiter = ','
    )]
    pub include_tags: Option<Vec<String>>,

    /// Leave out tools, prompts and resources with this tag, whatever else they have; may be repeated
    #[arg(
        long = "exclude-tag",
        env = "OUTLAST_EXCLUDE_TAG",
        value_name = "TAG",
        value_delimiter = ','
    )]
    pub exclude_tags: Option<Vec<String>>,

    /// A name that the Host header may have besides the loopback ones; may be repeated
    #[arg(
        long = "allow-host",
        env = "OUTLAST_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_hosts: Option<Vec<String>>,

    /// An origin, SCHEME://HOST:PORT, that browsers may call from besides the loopback ones; may be
    /// repeated
    #[arg(
        long = "allow-origin",
        env = "OUTLAST_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origins: Option<Vec<String>>,

    /// The path of MCP over HTTP [default: /mcp]
    #[arg(long, env = "OUTLAST_MCP_PATH", value_name = "PATH", value_parser = values::mcp_path)]
    #[serde(deserialize_with = "values::mcp_path_in_file")]
    pub mcp_path: Option<String>,

    /// How people reach the server, where a proxy in front of it changes the address: links in answers
    /// begin with it, OAuth clients are told it, and its name is an allowed host, as
    /// `https://tasks.example.org` [default: the address a request came to]
    #[arg(long, env = "OUTLAST_PUBLIC_URL", value_name = "URL", value_parser = values::public_url)]
    #[serde(deserialize_with = "values::public_url_in_file")]
    pub public_url: Option<String>,

    /// The tool that POST /tasks calls if the body names none; the body is then its arguments
    #[arg(long, env = "OUTLAST_DEFAULT_TOOL", value_name = "NAME")]
    pub default_tool: Option<String>,

    /// How many HTTP connections are open at a time; the next ones wait [default: 10000]
    #[arg(long, env = "OUTLAST_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// How many MCP sessions are in use at a time; on a server with users one of them may have a tenth
    /// [default: 10000]
    #[arg(long, env = "OUTLAST_MAX_SESSIONS", value_name = "N")]
    pub max_sessions: Option<NonZeroUsize>,

    /// How many streams and sockets that only listen are open at a time; on a server with users one of them
    /// may have a tenth [default: 10000]
    #[arg(long, env = "OUTLAST_MAX_STREAMS", value_name = "N")]
    pub max_streams: Option<NonZeroUsize>,

    /// Listen where other machines can reach it although there are no users: whoever reaches it runs
    /// the tools
    #[arg(long, env = "OUTLAST_ALLOW_UNAUTHENTICATED", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    pub allow_unauthenticated: Option<bool>,

    /// Who is let in. The ways that have no flag are set in a file or by hand.
    #[command(flatten)]
    pub auth: AuthSettings,

    /// Who is told over HTTP what becomes of tasks. The server's own webhooks are set in a file or by hand.
    #[command(flatten)]
    pub webhooks: WebhookSettings,

    /// How much the server itself says on standard error: off, error, warn, info, debug or trace
    /// [default: info]
    #[arg(long, env = "OUTLAST_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// How it says so: lines for people (text), or an object a line for machines (json) [default: text]
    #[arg(long, env = "OUTLAST_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The OpenTelemetry collector that traces and metrics are sent to, over HTTP, by a build with the feature
    /// otlp; the OTEL_ variables hold too [default: OTEL_EXPORTER_OTLP_ENDPOINT, else none]
    #[arg(long, env = "OUTLAST_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<Collector>,
}

impl Settings {
    /// The names of the fields in which these settings differ from `other`.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        // A new field is missed by no reload: the compiler asks for it here.
        let Self {
            listen,
            stdio,
            store,
            synchronous,
            task,
            retention,
            detach_after,
            heartbeat,
            helpers,
            concurrency,
            lease,
            no_worker_timeout,
            worker_labels,
            health,
            health_metrics,
            shutdown_grace,
            idle_exit,
            include_tags,
            exclude_tags,
            allowed_hosts,
            allowed_origins,
            mcp_path,
            public_url,
            default_tool,
            max_connections,
            max_sessions,
            max_streams,
            allow_unauthenticated,
            auth,
            webhooks,
            log_level,
            log_format,
            otlp_endpoint,
        } = self;
        let fields = [
            ("listen", *listen != other.listen),
            ("stdio", *stdio != other.stdio),
            ("store", *store != other.store),
            ("synchronous", *synchronous != other.synchronous),
            ("task", *task != other.task),
            ("retention", *retention != other.retention),
            ("detach_after", *detach_after != other.detach_after),
            ("heartbeat", *heartbeat != other.heartbeat),
            ("helpers", *helpers != other.helpers),
            ("concurrency", *concurrency != other.concurrency),
            ("lease", *lease != other.lease),
            (
                "no_worker_timeout",
                *no_worker_timeout != other.no_worker_timeout,
            ),
            ("worker_labels", *worker_labels != other.worker_labels),
            ("health", *health != other.health),
            ("health_metrics", *health_metrics != other.health_metrics),
            ("shutdown_grace", *shutdown_grace != other.shutdown_grace),
            ("idle_exit", *idle_exit != other.idle_exit),
            ("include_tags", *include_tags != other.include_tags),
            ("exclude_tags", *exclude_tags != other.exclude_tags),
            ("allowed_hosts", *allowed_hosts != other.allowed_hosts),
            ("allowed_origins", *allowed_origins != other.allowed_origins),
            ("mcp_path", *mcp_path != other.mcp_path),
            ("public_url", *public_url != other.public_url),
            ("default_tool", *default_tool != other.default_tool),
            ("max_connections", *max_connections != other.max_connections),
            ("max_sessions", *max_sessions != other.max_sessions),
            ("max_streams", *max_streams != other.max_streams),
            (
                "allow_unauthenticated",
                *allow_unauthenticated != other.allow_unauthenticated,
            ),
            ("auth", *auth != other.auth),
            ("webhooks", *webhooks != other.webhooks),
            ("log_level", *log_level != other.log_level),
            ("log_format", *log_format != other.log_format),
            ("otlp_endpoint", *otlp_endpoint != other.otlp_endpoint),
        ];
        let differ = fields.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(name, _)| name).collect()
    }

    /// These settings where they say something, else those of `lower`.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            listen: self.listen.or(lower.listen),
            stdio: self.stdio.or(lower.stdio),
            store: self.store.or(lower.store),
            synchronous: self.synchronous.or(lower.synchronous),
            task: self.task.or(lower.task),
            retention: self.retention.or(lower.retention),
            detach_after: self.detach_after.or(lower.detach_after),
            heartbeat: self.heartbeat.or(lower.heartbeat),
            helpers: self.helpers.or(lower.helpers),
            concurrency: self.concurrency.or(lower.concurrency),
            lease: self.lease.or(lower.lease),
            no_worker_timeout: self.no_worker_timeout.or(lower.no_worker_timeout),
            worker_labels: self.worker_labels.or(lower.worker_labels),
            health: self.health.or(lower.health),
            health_metrics: self.health_metrics.or(lower.health_metrics),
            shutdown_grace: self.shutdown_grace.or(lower.shutdown_grace),
            idle_exit: self.idle_exit.or(lower.idle_exit),
            include_tags: self.include_tags.or(lower.include_tags),
            exclude_tags: self.exclude_tags.or(lower.exclude_tags),
            allowed_hosts: self.allowed_hosts.or(lower.allowed_hosts),
            allowed_origins: self.allowed_origins.or(lower.allowed_origins),
            mcp_path: self.mcp_path.or(lower.mcp_path),
            public_url: self.public_url.or(lower.public_url),
            default_tool: self.default_tool.or(lower.default_tool),
            max_connections: self.max_connections.or(lower.max_connections),
            max_sessions: self.max_sessions.or(lower.max_sessions),
            max_streams: self.max_streams.or(lower.max_streams),
            allow_unauthenticated: self.allow_unauthenticated.or(lower.allow_unauthenticated),
            auth: self.auth.over(lower.auth),
            webhooks: self.webhooks.over(lower.webhooks),
            log_level: self.log_level.or(lower.log_level),
            log_format: self.log_format.or(lower.log_format),
            otlp_endpoint: self.otlp_endpoint.or(lower.otlp_endpoint),
        }
    }

    pub(crate) fn tag_filter(&self) -> TagFilter {
        TagFilter {
            include: self.include_tags.clone().unwrap_or_default(),
            exclude: self.exclude_tags.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let arguments = std::iter::once("server").chain(arguments.iter().copied());
        match Cli::try_parse_from(arguments) {
            Ok(cli) => Ok(cli.settings),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags() {
        let settings = parse(&[
            "--stdio",
            "--task",
            "optional",
            "--shutdown-grace",
            "1m 30s",
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.stdio, Some(StdioMode::Bridge));
        assert_eq!(settings.task, Some(TaskSupport::Optional));
        assert_eq!(settings.shutdown_grace, Some(Duration::from_secs(90)));
        let redis = parse(&["--store", "redis://u:secret@host:1/2?prefix=a"]).unwrap();
        assert_eq!(format!("{:?}", redis.store), "Some(redis://host:1/2)");
        let inline = parse(&["--stdio=inline"]).unwrap();
        assert_eq!(inline.stdio, Some(StdioMode::Inline));
    }

    #[test]
    fn impossible_values_say_what_is_allowed() {
        for (flag, value, hint) in [
            ("--listen", "9876", "127.0.0.1:9876"),
            ("--store", "mysql:x", "sqlite:PATH"),
            ("--store", "sqlite:", "sqlite:PATH"),
            ("--task", "sometimes", "forbidden, optional or required"),
            ("--concurrency", "many", "--concurrency"),
            ("--max-streams", "0", "--max-streams"),
            ("--max-sessions", "many", "--max-sessions"),
            ("--shutdown-grace", "10", "90s"),
            ("--retention", "90d", "30 days"),
            ("--retention", "0s", "at least 1s"),
            ("--detach-after", "soon", "never"),
            ("--heartbeat", "0s", "100ms"),
            ("--lease", "1s", "2s to 1h"),
            ("--worker-label", "two words", "region=eu"),
            ("--health", "localhost", "invalid socket address"),
            ("--helpers", "sometimes", "auto, always or never"),
            ("--log-level", "loud", "info"),
            ("--log-format", "xml", "text or json"),
            ("--webhook-secret", "hunter2", "env:NAME"),
            ("--otlp-endpoint", "box:4318", "http://localhost:4318"),
        ] {
            let error = parse(&[flag, value]).unwrap_err();
            assert!(error.contains(hint), "{flag} {value}: {error}");
        }
    }

    #[test]
    fn files() {
        let text = r#"{"listen":"localhost:0","store":"sqlite:a.db","task":"required",
                       "retention":"7d","log_level":"warn","allowed_hosts":["box.local"]}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.retention, Some(Duration::from_secs(7 * 86400)));
        assert_eq!(settings.log_level, Some(LogLevel::Warn));
        let unknown = serde_json::from_str::<Settings>(r#"{"lisen":"x"}"#).unwrap_err();
        assert!(
            unknown.to_string().contains("unknown field `lisen`"),
            "{unknown}"
        );
    }

    #[test]
    fn the_upper_layer_wins_where_it_speaks() {
        let upper = parse(&["--task", "optional"]).unwrap();
        let lower = parse(&["--task", "required", "--concurrency", "3"]).unwrap();
        let both = upper.over(lower);
        assert_eq!(both.task, Some(TaskSupport::Optional));
        assert_eq!(both.concurrency, Some(3));
    }
}
