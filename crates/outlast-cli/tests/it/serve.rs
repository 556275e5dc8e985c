//! `outlast serve` as a process: the sample works, and nothing is left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, eventually, outlast};

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(rig: &Rig) -> Self {
        Self::start_at(rig, "127.0.0.1:0")
    }

    pub(crate) fn start_at(rig: &Rig, address: &str) -> Self {
        let mut child = Command::new(outlast())
            .args(["serve", "--listen", address])
            .current_dir(rig.file(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = said
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| {
                line.split_once("listening on ")
                    .map(|(_, url)| url.to_owned())
            })
            .expect("the server says where it listens");
        // Whatever it says later must not find a closed pipe.
        std::thread::spawn(move || said.for_each(drop));
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_sample_does_its_job_and_leaves_nothing() {
    let rig = Rig::new();
    assert!(
        Command::new(outlast())
            .arg("init")
            .current_dir(rig.file(""))
            .status()
            .unwrap()
            .success()
    );
    let mut server = Server::start(&rig);
    let call = |arguments: &[&str]| {
        let output = Command::new(outlast())
            .arg("call")
            .args(arguments)
            .args(["--url", &server.url])
            .current_dir(rig.file(""))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let counted = call(&["count", "to=3", "pause=0.4"]);
    assert_eq!(counted, "counted 1 of 3\ncounted 2 of 3\ncounted 3 of 3\n");
    let counted = call(&["word_count", "file=outlast.toml"]);
    assert!(counted.trim_end().ends_with("outlast.toml"), "{counted}");
    let found = call(&["find_files", "ending:=[\"toml\", \"nothing\"]", "depth=1"]);
    assert_eq!(found, "./outlast.toml\n");

    let runs = rig.file("outlast.db.runs");
    eventually("the runs are swept up", || {
        (std::fs::read_dir(&runs).unwrap().count() == 0).then_some(())
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "a clean stop");
}
