//! The roles of processes on one Redis: workers with labels, and what probes are told.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use outlast_processes::{Redis, Server, Signal, binary, eventually, free_port};
use serde_json::json;

/// A process of the command line with a file of its own, whose tool says `place`.
fn process(folder: &Path, role: &str, place: &str, more: &[&str]) -> Server {
    let folder = folder.join(place);
    std::fs::create_dir(&folder).expect("a folder");
    let mut file = String::from("[server]\nname = \"roles\"\n");
    write!(
        file,
        "[tools.train]\ndescription = \"Says where it ran.\"\ncommand = [\"echo\", \"{place}\"]\n\
         requires = [\"gpu\"]\n"
    )
    .expect("a string takes everything");
    std::fs::write(folder.join("outlast.toml"), file).expect("a file");
    let mut arguments = vec![role];
    arguments.extend(more);
    Server::new(&binary("outlast"), &arguments, &folder)
}

fn probe(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: probe\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn says(port: u16, path: &str, status: &str) -> String {
    eventually(status, || {
        probe(port, path).filter(|answer| answer.starts_with(&format!("HTTP/1.0 {status}")))
    })
}

/// Whether a process listens on a socket of this machine.
fn has_a_door(process: &Server) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("a system with /proc");
    // Number of the socket, of those that accept connections.
    let listening: Vec<String> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(3) == Some(&"00010000"))
        .filter_map(|fields| Some(format!("socket:[{}]", fields.get(6)?)))
        .collect();
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).expect("it lives");
    files
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .any(|file| {
            listening
                .iter()
                .any(|socket| file.as_os_str() == socket.as_str())
        })
}

#[test]
fn tasks_run_where_their_labels_are_and_probes_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("roles");
    let listen = ["--listen", "127.0.0.1:{port}", "--store", &store];
    let mut server = process(folder.path(), "serve", "server", &listen);
    server.start();
    let client = server.client();
    let call = json!({"name": "train", "arguments": {}});
    let id = client.modern("tools/call", call).expect("it answers");
    let id = id.result()["taskId"].clone();

    let (port, idle) = (free_port(), free_port());
    let [health, other] = [port, idle].map(|port| format!("127.0.0.1:{port}"));
    let scheduler = [
        "--store",
        &store,
        "--health",
        &other,
        "--worker-label",
        "gpu",
    ];
    let mut scheduler = process(folder.path(), "scheduler", "scheduler", &scheduler);
    scheduler.launch();
    says(idle, "/health/ready", "200");
    let arguments = [
        "--store",
        &store,
        "--health",
        &health,
        "--health-metrics",
        "--worker-label",
        "gpu,big",
    ];
    let mut worker = process(folder.path(), "worker", "worker", &arguments);
    worker.launch();
    let ended = eventually("the end of the task", || {
        let task = client.modern("tasks/get", json!({"taskId": id})).ok()?;
        Some(task.result().clone()).filter(|task| task["status"] != "working")
    });
    assert_eq!(ended["status"], "completed", "{ended}");
    let text = ended["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.contains("worker"), "{ended}");
    let workers = client.get_json("/workers").expect("it answers");
    let all = workers["workers"].as_array().cloned().unwrap_or_default();
    assert_eq!(all.len(), 3, "{workers}");
    assert!(
        all.iter()
            .any(|worker| worker["labels"] == json!(["big", "gpu"])),
        "{workers}"
    );

    // A client of this machine that looks for the server of the store must not come upon a worker.
    assert!(has_a_door(&server));
    assert!(!has_a_door(&worker) && !has_a_door(&scheduler));

    // Probes get yes or no, and nobody gets anything else there.
    assert!(says(port, "/health/live", "200").ends_with("live\n"));
    says(port, "/health/ready", "200");
    for path in ["/", "/mcp", "/tasks"] {
        says(port, path, "404");
        says(idle, path, "404");
    }
    // Its figures, where its operator says so: what has run there is counted nowhere else.
    says(idle, "/metrics", "404");
    let counted = "outlast_tasks_ended_total{tool=\"train\",outcome=\"completed\"} 1";
    eventually("the worker counts the end", || {
        says(port, "/metrics", "200")
            .contains(counted)
            .then_some(())
    });
    redis.tell(Signal::Stop);
    let why = says(port, "/health/ready", "503");
    assert!(why.contains("the store cannot be reached"), "{why}");
    says(port, "/health/live", "200");
    redis.tell(Signal::Continue);
    says(port, "/health/ready", "200");
    scheduler.stop();
    worker.stop();
}

#[test]
fn a_role_needs_a_store_that_is_shared() {
    let folder = tempfile::tempdir().expect("a folder");
    for role in ["worker", "scheduler"] {
        let mut process = process(folder.path(), role, role, &["--store", "sqlite:tasks.db"]);
        process.launch();
        let status = eventually("its end", || process.ended());
        assert!(!status.success());
        let log = process.log();
        assert!(log.contains(&format!("a {role} needs a store")), "{log}");
    }
}
