//! A way to Redis that can be cut between a commit and its reply, or hold a call back until long after its
//! caller has given it up.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Takes what is sent to its socket on to a server, and brings the replies back.
pub(crate) struct Proxy {
    _folder: tempfile::TempDir,
    path: PathBuf,
    shared: Arc<Shared>,
}

/// Which connections something happens to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    All,
    /// Those that nobody subscribes on.
    Calls,
    /// Those that somebody subscribes on.
    Channels,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<Arc<Line>>>,
    /// Whose replies are swallowed.
    mute: Mutex<Option<Lines>>,
    /// Whose calls are held back.
    hold: Mutex<Option<Lines>>,
}

/// A connection.
struct Line {
    client: UnixStream,
    server: UnixStream,
    subscribes: AtomicBool,
    held: Mutex<Held>,
}

/// What was sent and not taken on.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// The client will send nothing more.
    ended: bool,
}

impl Line {
    fn is_in(&self, lines: Option<Lines>) -> bool {
        let subscribes = self.subscribes.load(Ordering::SeqCst);
        lines.is_some_and(|lines| match lines {
            Lines::All => true,
            Lines::Calls => !subscribes,
            Lines::Channels => subscribes,
        })
    }

    /// Takes on what was held back. The server may have gone by now.
    fn release(&self, held: &mut Held) {
        let _ = (&self.server).write_all(&std::mem::take(&mut held.bytes));
        if held.ended {
            let _ = self.server.shutdown(Shutdown::Write);
        }
    }

    /// Takes on what the client sends.
    fn carry(&self, shared: &Shared) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = (&self.client).read(&mut buffer) {
            let bytes = &buffer[..read];
            if contains(bytes, "SUBSCRIBE") {
                self.subscribes.store(true, Ordering::SeqCst);
            }
            let mut held = self.held.lock().unwrap();
            held.bytes.extend_from_slice(bytes);
            if !self.is_in(*shared.hold.lock().unwrap()) {
                self.release(&mut held);
            }
        }
        let mut held = self.held.lock().unwrap();
        held.ended = true;
        if held.bytes.is_empty() {
            self.release(&mut held);
        }
    }

    /// Brings the replies back.
    fn reply(&self, shared: &Shared) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = (&self.server).read(&mut buffer) {
            if !self.is_in(*shared.mute.lock().unwrap()) {
                // A client that has gone needs no reply.
                let _ = (&self.client).write_all(&buffer[..read]);
            }
        }
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|some| some == word.as_bytes())
}

impl Proxy {
    pub(crate) fn new(server: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared::default());
        let (server, serves) = (server.to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&server)) else {
                    return;
                };
                let line = Arc::new(Line {
                    client,
                    server,
                    subscribes: AtomicBool::new(false),
                    held: Mutex::default(),
                });
                serves.lines.lock().unwrap().push(Arc::clone(&line));
                let (carries, replies) = (Arc::clone(&line), Arc::clone(&serves));
                std::thread::spawn(move || carries.carry(&replies));
                let replies = Arc::clone(&serves);
                std::thread::spawn(move || line.reply(&replies));
            }
        });
        Self {
            _folder: folder,
            path,
            shared,
        }
    }

    /// The address of a store behind it.
    pub(crate) fn address(&self, prefix: &str) -> String {
        let path = self.path.display();
        format!("redis+unix://{path}?prefix={prefix}&volatile=true")
    }

    /// From now on calls are carried out and their replies get lost.
    pub(crate) fn mute(&self, lines: Lines) {
        *self.shared.mute.lock().unwrap() = Some(lines);
    }

    /// From now on calls are held back.
    pub(crate) fn hold(&self, lines: Lines) {
        *self.shared.hold.lock().unwrap() = Some(lines);
    }

    /// Whether a call with this word in it is held back.
    pub(crate) fn holds(&self, word: &str) -> bool {
        let lines = self.shared.lines.lock().unwrap();
        lines
            .iter()
            .any(|line| contains(&line.held.lock().unwrap().bytes, word))
    }

    /// Breaks connections; the next ones are whole again. What is held back stays so.
    pub(crate) fn cut(&self, lines: Lines) {
        for line in self.shared.lines.lock().unwrap().iter() {
            if line.is_in(Some(lines)) {
                let _ = line.client.shutdown(Shutdown::Both);
            }
        }
        *self.shared.mute.lock().unwrap() = None;
        *self.shared.hold.lock().unwrap() = None;
    }

    /// Lets the server have what was held back.
    pub(crate) fn release(&self) {
        *self.shared.hold.lock().unwrap() = None;
        for line in self.shared.lines.lock().unwrap().iter() {
            line.release(&mut line.held.lock().unwrap());
        }
    }
}
