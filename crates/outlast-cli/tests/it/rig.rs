//! What the tests share: a folder for runs, the real program, and patience without fixed sleeps.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outlast_cli::command::{
    Followed, Follower, Invocation, Launcher, RunFolder, RunState, Spec, Status,
};

/// Longer than a busy machine needs, shorter than a test runner's limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn outlast() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_outlast"))
}

/// Looks again and again until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A folder in which commands run and leave their traces.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A file in the commands' working folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The whole lines of such a file; none if it is not there.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(name)).unwrap_or_default();
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn spec(&self, argv: &[&str]) -> Spec {
        let mut spec = Spec::new(Invocation {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![],
            secret_env: vec![],
            working_dir: self.dir.path().to_owned(),
        });
        // Short graces: what ignores a signal should not make the tests slow.
        spec.interrupt_grace_ms = 300;
        spec.terminate_grace_ms = 300;
        spec
    }

    /// A run of a shell script, not started.
    pub(crate) fn script(&self, script: &str) -> RunFolder {
        self.run(&self.spec(&["/bin/sh", "-c", script]))
    }

    pub(crate) fn run(&self, spec: &Spec) -> RunFolder {
        RunFolder::create(&self.file("runs/task/1"), spec).unwrap()
    }

    /// A run of a shell script, started.
    pub(crate) async fn start(&self, script: &str) -> RunFolder {
        let folder = self.script(script);
        self.launch(&folder).await;
        folder
    }

    /// Starts a shim and waits until the command is about to run.
    pub(crate) async fn launch(&self, folder: &RunFolder) {
        Launcher::program(outlast()).launch(folder, &[]).unwrap();
        eventually("the start", || {
            (folder.started().unwrap().is_some() || folder.status().unwrap().is_some())
                .then_some(())
        })
        .await;
    }
}

/// Waits for a run's end.
pub(crate) async fn ended(folder: &RunFolder) -> Status {
    eventually("the end", || match folder.state().unwrap() {
        RunState::Ended(status) => Some(status),
        RunState::Running => None,
        other => panic!("{other:?}; the shim says: {}", folder.shim_says()),
    })
    .await
}

/// Reads a run from `offset` to its end.
pub(crate) async fn follow(folder: &RunFolder, offset: u64) -> (Vec<u8>, Followed) {
    let mut follower = Follower::new(folder.clone(), offset);
    let mut output = Vec::new();
    let reading = async {
        loop {
            match follower.next().await.unwrap() {
                Followed::Output(piece) => output.extend(piece),
                end => return end,
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the run ends in time");
    (output, end)
}

/// Whether a process runs; a zombie does not.
pub(crate) fn runs(pid: i32) -> bool {
    outlast_cli::command::ProcessIdentity::of(pid)
        .unwrap()
        .is_some()
}
