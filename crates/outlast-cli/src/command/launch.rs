//! Starting a shim.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::folder::RunFolder;
use super::shim::{SUBCOMMAND, this_program};

/// Starts shims with a certain program.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// Shims of the program that runs now, also when its file is replaced meanwhile.
    ///
    /// # Errors
    /// When the system does not tell which program runs.
    pub fn this_program() -> io::Result<Self> {
        Ok(Self {
            program: this_program()?,
        })
    }

    /// Shims of the program at `path`, which must be an `outlast`.
    #[must_use]
    pub fn program(path: &Path) -> Self {
        Self {
            program: path.to_owned(),
        }
    }

    /// Starts a shim for the run and returns without waiting for it. `secrets` are variables for the
    /// command that are not in the folder.
    ///
    /// Safe to repeat: in one folder at most one shim ever starts a command, and the others exit.
    /// The child may be dropped; it goes on and is reaped by the runtime. It holds no pipe of this
    /// process.
    ///
    /// # Errors
    /// When the process cannot be started.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn launch(&self, folder: &RunFolder, secrets: &[(String, String)]) -> io::Result<Child> {
        Command::new(&self.program)
            .arg0("outlast")
            .arg(SUBCOMMAND)
            .arg(folder.path())
            .current_dir("/")
            .envs(secrets.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(folder.shim_log()?))
            .kill_on_drop(false)
            .spawn()
    }
}
