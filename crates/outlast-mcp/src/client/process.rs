//! A server started as a child process.
//!
//! It is asked to end by closing its input, then told to (SIGTERM), then made to (SIGKILL). It gets
//! a process group of its own, so that an interrupt typed at the terminal reaches the client alone,
//! which then ends it in that order. What it writes to its standard error is read away, so that it
//! never blocks, and the last lines are kept for the error text.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{mpsc, watch};

use super::target::{CommandLine, Halves};

/// How long a server may take to end once its input is closed.
const CLOSE_GRACE: Duration = Duration::from_secs(3);
/// How long after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Lines of standard error that are kept.
const TAIL: usize = 8;

/// A child process.
pub(super) struct Process {
    ended: watch::Receiver<Option<String>>,
    /// Dropping it makes the child end, so a forgotten client leaves no process behind.
    _alive: mpsc::Sender<()>,
    tail: Tail,
}

type Tail = Arc<Mutex<VecDeque<String>>>;

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(line: &CommandLine) -> io::Result<(Halves, Self)> {
        let mut command = Command::new(&line.program);
        command
            .args(&line.arguments)
            .envs(line.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(folder) = &line.folder {
            command.current_dir(folder);
        }
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let input = child.stdin.take().expect("asked for above");
        let output = child.stdout.take().expect("asked for above");
        let errors = child.stderr.take().expect("asked for above");
        let tail = Tail::default();
        tokio::spawn(keep_tail(errors, Arc::clone(&tail)));
        let (ended_sender, ended) = watch::channel(None);
        let (alive, gone) = mpsc::channel(1);
        tokio::spawn(supervise(child, gone, ended_sender));
        Ok((
            (Box::new(output), Box::new(input)),
            Self {
                ended,
                _alive: alive,
                tail,
            },
        ))
    }

    /// Returns once it has ended, with a sentence about how.
    pub(super) fn ended(&self) -> impl Future<Output = String> + Send + 'static {
        let (mut ended, tail) = (self.ended.clone(), Arc::clone(&self.tail));
        async move {
            let how = match ended.wait_for(Option::is_some).await {
                Ok(how) => how.clone().unwrap_or_default(),
                Err(_) => "the server process is gone".to_owned(),
            };
            let lines = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.is_empty() {
                return how;
            }
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            format!("{how}; its last lines were:\n{}", lines.join("\n"))
        }
    }

    /// Returns once it has ended after its input was closed, which makes it end if need be.
    pub(super) async fn stop(&self) {
        let mut ended = self.ended.clone();
        let grace = tokio::time::timeout(CLOSE_GRACE, ended.wait_for(Option::is_some));
        // If it is still there, the drop of this value goes on with the ladder.
        let _ = grace.await;
    }
}

async fn supervise(
    mut child: Child,
    mut gone: mpsc::Receiver<()>,
    ended: watch::Sender<Option<String>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = gone.recv() => end(&mut child).await,
    };
    let how = match status {
        Ok(status) => format!("the server process ended ({status})"),
        Err(error) => format!("the server process cannot be waited for: {error}"),
    };
    // Nobody may be left to hear it.
    let _ = ended.send(Some(how));
}

async fn end(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    if let Ok(status) = tokio::time::timeout(CLOSE_GRACE, child.wait()).await {
        return status;
    }
    #[cfg(unix)]
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok())
        && let Some(id) = rustix::process::Pid::from_raw(id)
    {
        // It may have ended this moment; it has not been waited for, so the number is still its own.
        let _ = rustix::process::kill_process_group(id, rustix::process::Signal::TERM);
        if let Ok(status) = tokio::time::timeout(TERM_GRACE, child.wait()).await {
            return status;
        }
    }
    child.start_kill()?;
    child.wait().await
}

async fn keep_tail(errors: ChildStderr, tail: Tail) {
    let mut lines = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A read error is the end as well.
        if !matches!(lines.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        tracing::debug!(target: "outlast_mcp::client::process", "{text}");
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text.chars().take(500).collect());
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::super::target::{Kind, Target};
    use super::*;

    fn start(script: &str) -> (Halves, Process) {
        let Kind::Command(line) = Target::command("sh", ["-c", script])
            .env("WORD", "end")
            .kind
        else {
            panic!("a command")
        };
        Process::start(&line).unwrap()
    }

    #[tokio::test]
    async fn the_error_text_has_the_status_and_the_last_lines() {
        let (_halves, process) =
            start("for i in 1 2 3 4 5 6 7 8 9; do echo line $i >&2; done; echo $WORD >&2; exit 3");
        let how = process.ended().await;
        assert!(
            how.contains("exit status: 3") && how.ends_with("line 9\nend"),
            "{how}"
        );
        assert!(!how.contains("line 2"), "{how}");
    }

    #[tokio::test]
    async fn closing_its_input_ends_it() {
        let (halves, process) = start("cat >/dev/null; exit 5");
        drop(halves);
        process.stop().await;
        assert!(process.ended().await.contains("exit status: 5"));
    }
}
