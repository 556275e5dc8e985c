//! Which configuration file a command is about: named first, or with `--config`, or in the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use outlast_cli::config::FILE_NAME;

/// The variable that names the file where the command line does not.
const VARIABLE: &str = "OUTLAST_CONFIG";

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file [env: OUTLAST_CONFIG] [default: outlast.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// The same, as other commands take it
    // The environment is read below: to the parser it would be a second file beside one that is named.
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The file that is meant.
    pub(super) fn path(&self) -> PathBuf {
        self.path_or(std::env::var_os(VARIABLE))
    }

    fn path_or(&self, environment: Option<OsString>) -> PathBuf {
        let named = self.file.as_ref().or(self.config.as_ref()).cloned();
        let environment = environment.filter(|name| !name.is_empty());
        named
            .or(environment.map(PathBuf::from))
            .unwrap_or_else(|| FILE_NAME.into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        file: ConfigFile,
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let read = |words: &[&str], environment: Option<&str>| {
            let line = Line::try_parse_from([&["outlast"], words].concat()).ok()?;
            Some(line.file.path_or(environment.map(OsString::from)))
        };
        let is = |name: &str| Some(PathBuf::from(name));
        assert_eq!(read(&[], None), is(FILE_NAME));
        assert_eq!(read(&[], Some("")), is(FILE_NAME));
        assert_eq!(read(&[], Some("env.toml")), is("env.toml"));
        assert_eq!(read(&["a.toml"], Some("env.toml")), is("a.toml"));
        assert_eq!(read(&["-c", "a.toml"], Some("env.toml")), is("a.toml"));
        assert_eq!(read(&["--config", "a.toml"], None), is("a.toml"));
        assert_eq!(read(&["a.toml", "-c", "b.toml"], None), None);
    }
}
