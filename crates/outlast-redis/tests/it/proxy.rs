//! A way to Redis that can be cut between a commit and its reply.

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

#[derive(Default)]
struct Shared {
    /// Replies are swallowed.
    mute: AtomicBool,
    open: Mutex<Vec<UnixStream>>,
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
                let both = [&client, &server].map(|stream| stream.try_clone().unwrap());
                serves.open.lock().unwrap().extend(both);
                let [from, to] = [&client, &server].map(|stream| stream.try_clone().unwrap());
                std::thread::spawn(move || copy(from, to, None));
                let mute = Arc::clone(&serves);
                std::thread::spawn(move || copy(server, client, Some(&mute.mute)));
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
    pub(crate) fn mute(&self) {
        self.shared.mute.store(true, Ordering::SeqCst);
    }

    /// Breaks every connection; the next ones are whole again.
    pub(crate) fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.mute.store(false, Ordering::SeqCst);
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream, mute: Option<&AtomicBool>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer) else {
            let _ = to.shutdown(Shutdown::Both);
            return;
        };
        let silent = mute.is_some_and(|mute| mute.load(Ordering::SeqCst));
        if !silent && to.write_all(&buffer[..read]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}
