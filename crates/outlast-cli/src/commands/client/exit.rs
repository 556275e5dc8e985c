//! Exit codes, one table.

use std::fmt;
use std::process::ExitCode;

use outlast_mcp::client::ClientError;

/// The help text on exit codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    the tool ran and reported an error
  2    wrong arguments or configuration; nothing was done
  3    the task failed, or the server refused or did not understand
  4    the task was cancelled
  5    no connection to the server, or none any more
  6    no such tool or task
  130  interrupted with Ctrl-C; a task goes on";

/// How a subcommand ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    ToolError = 1,
    Usage = 2,
    Failed = 3,
    Cancelled = 4,
    NoConnection = 5,
    NotFound = 6,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a subcommand did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) exit: Exit,
    message: String,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        if !self.message.is_empty() {
            super::out::complain(&format!("outlast: {}", self.message));
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Connect { .. }
            | ClientError::Lost { .. }
            | ClientError::Unauthorized { .. } => Exit::NoConnection,
            ClientError::TaskNotFound { .. } => Exit::NotFound,
            ClientError::TaskCancelled { .. } => Exit::Cancelled,
            ClientError::Tool(_) => Exit::ToolError,
            ClientError::Invalid(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use outlast_mcp::jsonrpc::RpcError;

    use super::*;

    #[test]
    fn every_error_has_its_code() {
        let text = String::new;
        let refused = || RpcError::new(-1, "no");
        for (error, code) in [
            (
                ClientError::Connect {
                    target: text(),
                    reason: text(),
                },
                5,
            ),
            (
                ClientError::Lost {
                    target: text(),
                    method: text(),
                    reason: text(),
                },
                5,
            ),
            (
                ClientError::Unauthorized {
                    target: text(),
                    status: 401,
                },
                5,
            ),
            (
                ClientError::TaskNotFound {
                    id: text(),
                    reason: text(),
                },
                6,
            ),
            (
                ClientError::TaskFailed {
                    id: text(),
                    error: refused(),
                },
                3,
            ),
            (
                ClientError::Forbidden {
                    target: text(),
                    reason: text(),
                },
                3,
            ),
            (ClientError::TaskCancelled { id: text() }, 4),
            (ClientError::Invalid(text()), 2),
            (ClientError::Unsupported(text()), 3),
            (
                ClientError::Refused {
                    method: text(),
                    error: refused(),
                },
                3,
            ),
            (
                ClientError::Protocol {
                    target: text(),
                    reason: text(),
                },
                3,
            ),
        ] {
            let name = format!("{error:?}");
            assert_eq!(Trouble::from(error).exit as u8, code, "{name}");
        }
    }
}
