//! The configuration file, `outlast.toml`: what it may hold, and one clear message where it is wrong.
//!
//! A file is read completely or not at all: either every key is known, every value possible and
//! every reference resolved, or [`ConfigError`] lists all that is wrong, each with its line and its
//! key. Nothing is ever started from a file that is half understood. Relative paths in the file
//! refer to the folder it is in, so that it means the same wherever the server is started from.
//!
#![doc = include_str!("reference.md")]

mod argument;
mod icon;
mod labels;
mod library;
mod limits;
mod missing;
mod order;
mod problem;
mod program;
mod sample;
mod schedule;
mod section;
mod server;
mod spans;
mod template;
mod tool;

/// The folder of a file, the same for whatever way the file is named.
fn folder_of(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    absolute.parent().unwrap_or(Path::new("/")).canonicalize()
}

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use outlast::WebhookSettings;
use outlast::auth::{AuthSettings, Secret};
use outlast_core::NewSchedule;
use outlast_engine::Order;
use toml::de::DeTable;

pub use argument::{Argument, Rules, Shape, Type};
pub(crate) use argument::{name_of, whole};
pub use problem::{ConfigError, Problem};
pub use program::Program;
pub use sample::{SAMPLE, write_sample};
pub use server::{KEYS as SERVER_KEYS, ServerConfig};
pub use template::{Piece, Template, Word};
pub use tool::{CommandTool, INTERRUPT_GRACE, TERMINATE_GRACE};

use section::{Problems, Section};

/// What a file may hold, in Markdown.
pub const REFERENCE: &str = include_str!("reference.md");

/// The name of the file that is looked for where none is named.
pub const FILE_NAME: &str = "outlast.toml";

/// A configuration file that makes sense.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// What is in it, as it stands.
    pub text: String,
    /// The folder that it is in, which relative paths refer to.
    pub folder: PathBuf,
    /// `[server]`.
    pub server: ServerConfig,
    /// `[auth]`.
    pub auth: AuthSettings,
    /// `[limits]`: what holds for all tools together.
    pub limits: Order,
    /// `[tools]`, in the order of the file.
    pub tools: Vec<CommandTool>,
    /// `[schedules]`, in the order of the file.
    pub schedules: Vec<NewSchedule>,
    /// `[webhooks]`.
    pub webhooks: WebhookSettings,
}

impl FileConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when it cannot be read, [`ConfigError::Invalid`] with everything that
    /// is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(path, &folder_of(path).map_err(read)?, &text)
    }

    /// Reads `[server]` of a file and nothing else: what a program needs that only wants to find the server,
    /// which may run although the rest of the file has become wrong.
    ///
    /// # Errors
    /// As [`FileConfig::load`], for this table.
    pub fn load_server(path: &Path) -> Result<ServerConfig, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let folder = &folder_of(path).map_err(read)?;
        let problems = Problems::new(&text);
        let mut server = match DeTable::parse(&text) {
            Ok(document) => {
                let root = Section::free(String::new(), 0..0, document.get_ref(), &problems);
                server::read(&root, folder)
            }
            Err(error) => {
                let message = format!("not TOML: {}", error.message().replace('\n', "; "));
                problems.note(error.span().unwrap_or_default(), "", message);
                ServerConfig::default()
            }
        };
        let problems = problems.into_sorted();
        if !problems.is_empty() {
            return Err(ConfigError::Invalid {
                path: path.to_owned(),
                problems,
            });
        }
        server.name = Some(server.name_in(folder));
        Ok(server)
    }

    /// Reads the text of a file. `path` names it in messages, and relative paths in it refer to
    /// `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn parse(path: &Path, folder: &Path, text: &str) -> Result<Self, ConfigError> {
        let problems = Problems::new(text);
        let invalid = |problems| {
            Err(ConfigError::Invalid {
                path: path.to_owned(),
                problems,
            })
        };
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let message = error.message().replace('\n', "; ");
                problems.note(
                    error.span().unwrap_or_default(),
                    "",
                    format!("not TOML: {message}"),
                );
                return invalid(problems.into_sorted());
            }
        };
        let root = Section::open(
            String::new(),
            0..0,
            document.get_ref(),
            &problems,
            &[
                "server",
                "auth",
                "defaults",
                "limits",
                "tools",
                "schedules",
                "webhooks",
            ],
        );
        let server = server::read(&root, folder);
        let auth = library::auth(&root, folder);
        let limits = order::shared(&root);
        let mut bounds = limits::defaults(&root);
        bounds.inherited.never = secret_variables(&auth);
        bounds
            .inherited
            .never
            .extend(library::webhook_variables(&root));
        let mut tools = Vec::new();
        if let Some((span, table)) = root.table("tools") {
            let section = Section::free("tools".to_owned(), span, table, &problems);
            for (name, span, node) in section.entries() {
                tools.extend(tool::read(&section, name, span, node, folder, &bounds));
            }
        }
        let mut schedules = Vec::new();
        if let Some((span, table)) = root.table("schedules") {
            let section = Section::free("schedules".to_owned(), span, table, &problems);
            for (name, span, node) in section.entries() {
                let read = schedule::read(&section, name, span, node, &tools, server.task);
                schedules.extend(read);
            }
        }
        let webhooks = library::webhooks(&root, folder, &tools);
        let found = problems.into_sorted();
        if !found.is_empty() {
            return invalid(found);
        }
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            folder: folder.to_owned(),
            server,
            auth,
            limits,
            tools,
            schedules,
            webhooks,
        })
    }
}

impl FileConfig {
    /// What is allowed and may still be a mistake, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let auth = &self.auth;
        let users = auth.tokens.is_some()
            || auth.jwt.is_some()
            || auth.introspection.is_some()
            || auth.user_info.is_some()
            || self
                .server
                .listen
                .as_deref()
                .is_some_and(|listen| listen.starts_with("unix:"));
        let mixing = self.tools.iter().filter(|_| users);
        mixing
            .filter_map(|tool| {
                let (name, setting) = (&tool.name, tool.mixes()?);
                Some(format!(
                    "tools.{name}.{setting}: what runs of other users write at the same time would be kept with \
                     a task too; give each run a folder of its own (own_folder = true), or let one run at a \
                     time (max_running = 1)"
                ))
            })
            .collect()
    }
}

/// The variables that the settings name as the place of a secret.
fn secret_variables(auth: &AuthSettings) -> Vec<String> {
    let introspection = auth.introspection.as_ref();
    match introspection.map(|introspection| &introspection.client_secret) {
        Some(Secret::Env(name)) => vec![name.clone()],
        Some(Secret::File(_)) | None => Vec::new(),
    }
}

/// The path that `path`, as it stands in a file, means: below `folder` unless it is absolute, and
/// without the `.` that a reader of messages does not need.
fn resolve(folder: &Path, path: &str) -> PathBuf {
    folder
        .join(path)
        .components()
        .filter(|part| *part != std::path::Component::CurDir)
        .collect()
}
