//! The clients that are known: where each keeps its MCP servers, and in which words.
//!
//! One table, because it is the part that changes when clients do. Looked up in each client's own
//! documentation (Claude Code "Connect to tools via MCP", Cursor "Model Context Protocol", VS Code "MCP
//! configuration reference", Windsurf "Cascade MCP", Zed "Model Context Protocol", Codex "Model Context
//! Protocol", Gemini CLI "MCP servers").

use std::path::PathBuf;

use serde_json::{Value, json};

/// The language of a client's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// JSON, with comments and trailing commas where the client takes them.
    Json,
    Toml,
}

/// Where a client's file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Below the home folder.
    Home(&'static str),
    /// Below the folder of an application: `$XDG_CONFIG_HOME`, on macOS `Library/Application Support`.
    Application(&'static str),
    /// Below `$XDG_CONFIG_HOME`, on macOS too.
    Xdg(&'static str),
    /// Below the folder that a variable names, or below the home folder.
    Variable(&'static str, &'static str, &'static str),
}

/// How a client says that a text comes from the environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variables {
    /// `${NAME}`
    Braces,
    /// `${env:NAME}`
    Env,
    /// A setting of its own for the name of the variable.
    Setting(&'static str),
    /// It cannot.
    None,
}

/// A client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    /// What it is called on the command line.
    pub(crate) id: &'static str,
    /// What people call it.
    pub(crate) title: &'static str,
    pub(crate) format: Format,
    /// The member that its servers stand in.
    pub(crate) servers: &'static str,
    place: Place,
    /// The file of a project, relative to its folder, where there is one.
    pub(crate) project: Option<&'static str>,
    /// Whether an entry says its `type`.
    typed: bool,
    /// The member with the address of a server over HTTP; none where the file takes only commands.
    url: Option<&'static str>,
    variables: Variables,
}

/// Members of an entry that say how the server is reached: those of another way are taken out.
pub(crate) const TRANSPORT: [&str; 9] = [
    "type",
    "command",
    "args",
    "url",
    "httpUrl",
    "serverUrl",
    "headers",
    "bearer_token_env_var",
    "source",
];

/// All of them.
pub(crate) const ALL: [Known; 8] = [
    Known {
        id: "claude-desktop",
        title: "Claude Desktop",
        format: Format::Json,
        servers: "mcpServers",
        place: Place::Application("Claude/claude_desktop_config.json"),
        project: None,
        typed: false,
        url: None,
        variables: Variables::None,
    },
    Known {
        id: "claude-code",
        title: "Claude Code",
        format: Format::Json,
        servers: "mcpServers",
        place: Place::Home(".claude.json"),
        project: Some(".mcp.json"),
        typed: true,
        url: Some("url"),
        variables: Variables::Braces,
    },
    Known {
        id: "cursor",
        title: "Cursor",
        format: Format::Json,
        servers: "mcpServers",
        place: Place::Home(".cursor/mcp.json"),
        project: Some(".cursor/mcp.json"),
        typed: false,
        url: Some("url"),
        variables: Variables::Env,
    },
    Known {
        id: "vscode",
        title: "VS Code",
        format: Format::Json,
        servers: "servers",
        place: Place::Application("Code/User/mcp.json"),
        project: Some(".vscode/mcp.json"),
        typed: true,
        url: Some("url"),
        variables: Variables::Env,
    },
    Known {
        id: "windsurf",
        title: "Windsurf",
        format: Format::Json,
        servers: "mcpServers",
        place: Place::Home(".codeium/windsurf/mcp_config.json"),
        project: None,
        typed: false,
        url: Some("serverUrl"),
        variables: Variables::Env,
    },
    Known {
        id: "zed",
        title: "Zed",
        format: Format::Json,
        servers: "context_servers",
        place: Place::Xdg("zed/settings.json"),
        project: Some(".zed/settings.json"),
        typed: false,
        url: Some("url"),
        variables: Variables::None,
    },
    Known {
        id: "codex",
        title: "Codex",
        format: Format::Toml,
        servers: "mcp_servers",
        place: Place::Variable("CODEX_HOME", ".codex", "config.toml"),
        project: Some(".codex/config.toml"),
        typed: false,
        url: Some("url"),
        variables: Variables::Setting("bearer_token_env_var"),
    },
    Known {
        id: "gemini",
        title: "Gemini CLI",
        format: Format::Json,
        servers: "mcpServers",
        place: Place::Home(".gemini/settings.json"),
        project: Some(".gemini/settings.json"),
        typed: false,
        url: Some("httpUrl"),
        variables: Variables::Braces,
    },
];

/// The client of this name.
pub(crate) fn find(id: &str) -> Result<Known, String> {
    ALL.into_iter().find(|known| known.id == id).ok_or_else(|| {
        let ids: Vec<_> = ALL.iter().map(|known| known.id).collect();
        format!("write one of {}", ids.join(", "))
    })
}

/// How a client is to reach the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// By a command that it starts.
    Command(Vec<String>),
    /// Over HTTP, with a token from this variable of its environment.
    Http {
        url: String,
        token_env: Option<String>,
    },
}

impl Known {
    /// The file for all projects of this user.
    ///
    /// # Errors
    /// No home folder is known.
    pub(crate) fn user_file(&self) -> Result<PathBuf, String> {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or("no home folder is known; set HOME")?;
        let xdg = || {
            let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
            let set = set.filter(|path| path.is_absolute());
            set.unwrap_or_else(|| home.join(".config"))
        };
        Ok(match self.place {
            Place::Home(path) => home.join(path),
            Place::Application(path) if cfg!(target_os = "macos") => {
                home.join("Library/Application Support").join(path)
            }
            Place::Application(path) | Place::Xdg(path) => xdg().join(path),
            Place::Variable(name, folder, file) => {
                let set = std::env::var_os(name).map(PathBuf::from);
                set.unwrap_or_else(|| home.join(folder)).join(file)
            }
        })
    }

    /// The entry of a server in the client's words.
    ///
    /// # Errors
    /// The client cannot reach a server in this way; the sentence says what to do.
    pub(crate) fn entry(&self, reach: &Reach) -> Result<Value, String> {
        let mut entry = match reach {
            Reach::Command(words) => json!({"command": words[0], "args": words[1..]}),
            Reach::Http { url, token_env } => {
                let member = self.url.ok_or_else(|| {
                    format!(
                        "{} starts its servers as commands and has no place for an address in its \
                         file; leave out --url",
                        self.title
                    )
                })?;
                let mut entry = json!({member: url});
                if let Some(name) = token_env {
                    self.add_token(&mut entry, name)?;
                }
                entry
            }
        };
        if self.typed {
            let kind = match reach {
                Reach::Command(_) => "stdio",
                Reach::Http { .. } => "http",
            };
            entry["type"] = kind.into();
        }
        Ok(entry)
    }

    fn add_token(&self, entry: &mut Value, name: &str) -> Result<(), String> {
        let variable = match self.variables {
            Variables::Braces => format!("${{{name}}}"),
            Variables::Env => format!("${{env:{name}}}"),
            Variables::Setting(setting) => {
                entry[setting] = name.into();
                return Ok(());
            }
            Variables::None => {
                return Err(format!(
                    "{} does not read variables in its file, and a token does not belong there; leave \
                     out --url, so that it starts the server as a command",
                    self.title
                ));
            }
        };
        entry["headers"] = json!({"Authorization": format!("Bearer {variable}")});
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_words() {
        let command = Reach::Command(vec!["/bin/outlast".into(), "serve".into()]);
        let http = Reach::Http {
            url: "https://a/mcp".into(),
            token_env: Some("TOKEN".into()),
        };
        for known in ALL {
            let entry = known.entry(&command).unwrap();
            assert_eq!(entry["command"], "/bin/outlast", "{}", known.id);
            assert_eq!(find(known.id), Ok(known));
        }
        let of = |id: &str| find(id).unwrap().entry(&http);
        let bearer = |variable: &str| json!({"Authorization": format!("Bearer {variable}")});
        assert_eq!(
            of("claude-code").unwrap(),
            json!({"type": "http", "url": "https://a/mcp", "headers": bearer("${TOKEN}")})
        );
        assert_eq!(
            of("cursor").unwrap(),
            json!({"url": "https://a/mcp", "headers": bearer("${env:TOKEN}")})
        );
        assert_eq!(
            of("windsurf").unwrap(),
            json!({"serverUrl": "https://a/mcp", "headers": bearer("${env:TOKEN}")})
        );
        assert_eq!(
            of("gemini").unwrap(),
            json!({"httpUrl": "https://a/mcp", "headers": bearer("${TOKEN}")})
        );
        assert_eq!(
            of("codex").unwrap(),
            json!({"url": "https://a/mcp", "bearer_token_env_var": "TOKEN"})
        );
        assert!(of("claude-desktop").unwrap_err().contains("--url"));
        assert!(of("zed").unwrap_err().contains("variables"));
        assert!(find("notepad").unwrap_err().contains("cursor"));
    }
}
