//! Servers that watch each other: a primary with a replica and sentinels, and a cluster. Each is a process of the
//! test's own in a folder of its own, on ports that the system gives.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outlast_core::testing::{block_on, eventually};

use crate::server::program;

/// A server on a port.
pub(crate) struct Node {
    folder: tempfile::TempDir,
    child: Child,
    pub(crate) port: u16,
    /// Where nodes of a cluster talk to each other.
    bus: u16,
    password: String,
}

impl Node {
    /// A server with more on its command line.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::start("", options)
    }

    fn start(configuration: &str, options: &[&str]) -> Self {
        // Somebody may take a port between its choice and the start of the server, which ends then.
        for _ in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            let (port, bus) = two_ports();
            let file = folder.path().join("server.conf");
            std::fs::write(&file, configuration).unwrap();
            let mut command = Command::new(program());
            command.arg(&file).args(options);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            if options.contains(&"--cluster-enabled") {
                command.args(["--cluster-port", &bus.to_string()]);
            }
            let socket = folder.path().join("redis.sock");
            command.arg("--unixsocket").arg(&socket);
            command.arg("--dir").arg(folder.path());
            let child = command.stdout(Stdio::null()).spawn();
            let mut child = child.unwrap_or_else(|error| {
                let program = program();
                panic!("{program} is needed ({error}): run `scripts/setup redis`")
            });
            if answers(&mut child, &socket) {
                let mut words = options.iter().skip_while(|word| **word != "--requirepass");
                let password = words.nth(1).copied().unwrap_or_default();
                return Self {
                    folder,
                    child,
                    port,
                    bus,
                    password: password.to_owned(),
                };
            }
        }
        panic!("no port is free");
    }

    /// Calls a command, as somebody else would.
    pub(crate) fn try_call(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let socket = self.folder.path().join("redis.sock");
        let url = format!("redis+unix://{}", socket.display());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        if !self.password.is_empty() {
            let auth = redis::cmd("AUTH").arg(&self.password).take();
            auth.query::<redis::Value>(&mut connection)?;
        }
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    pub(crate) fn call(&self, words: &[&str]) -> redis::Value {
        self.try_call(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The text of an answer.
    pub(crate) fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.call(words)).unwrap()
    }

    /// The lines of an answer.
    pub(crate) fn list(&self, words: &[&str]) -> Vec<String> {
        redis::from_redis_value(self.call(words)).unwrap_or_default()
    }

    /// Waits until a field of its INFO is this.
    fn comes_to(&self, section: &str, line: &str) {
        block_on(eventually(line, || {
            let info = self.try_call(&["INFO", section]).ok();
            let info = info.and_then(|info| redis::from_redis_value::<String>(info).ok());
            let found = info.is_some_and(|info| info.lines().any(|one| one == line));
            std::future::ready(found.then_some(()))
        }));
    }

    /// Tells the process something, such as to stand still.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(kill.status().expect("it runs").success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn two_ports() -> (u16, u16) {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = listeners.map(|one| one.local_addr().unwrap().port());
    (first, second)
}

/// Whether a server answers on its socket, rather than ending because a port is taken.
fn answers(child: &mut Child, socket: &Path) -> bool {
    let begun = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let asked = UnixStream::connect(socket).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.write_all(b"PING\r\n")?;
            stream.read(&mut [0; 64])
        });
        if matches!(asked, Ok(1..)) {
            return true;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it says nothing");
        std::thread::yield_now();
    }
}

/// What servers of which one follows another have in common.
const QUICK: [&str; 6] = [
    "--save",
    "",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

/// A primary with a replica, and three sentinels of which two must agree.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Node>,
    pub(crate) sentinels: Vec<Node>,
}

impl Watched {
    pub(crate) fn new() -> Self {
        let primary = Node::with(&QUICK);
        let replica = follower(&primary);
        let configuration = watch(&primary);
        let sentinel = |_| Node::start(&configuration, &["--sentinel"]);
        let watched = Self {
            sentinels: (0..3).map(sentinel).collect(),
            servers: vec![primary, replica],
        };
        for sentinel in &watched.sentinels {
            block_on(eventually("the sentinels know each other", || {
                let known = sentinel.list(&["SENTINEL", "MASTER", "main"]);
                let says = |name: &str, value: &str| {
                    known
                        .chunks_exact(2)
                        .any(|pair| pair[0] == name && pair[1] == value)
                };
                let all = says("num-other-sentinels", "2") && says("num-slaves", "1");
                std::future::ready(all.then_some(()))
            }));
        }
        watched
    }

    /// A primary alone, and a sentinel that asks for another password than it.
    pub(crate) fn with_passwords(sentinel: &str, primary: &str) -> Self {
        let primary = Node::with(&[&QUICK[..], &["--requirepass", primary]].concat());
        let configuration = format!(
            "{}sentinel auth-pass main {}\n",
            watch(&primary),
            primary.password
        );
        let sentinel = Node::start(&configuration, &["--sentinel", "--requirepass", sentinel]);
        Self {
            servers: vec![primary],
            sentinels: vec![sentinel],
        }
    }

    /// The address of a store.
    pub(crate) fn address(&self, prefix: &str) -> String {
        let hosts = self.sentinels.iter().map(host).collect::<Vec<_>>();
        let hosts = hosts.join(",");
        format!("redis+sentinel://{hosts}/main?volatile=true&prefix={prefix}")
    }

    /// Kills the server that the sentinels take for the primary.
    pub(crate) fn kill_primary(&mut self) {
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        let port = self.sentinels[0].list(&asked)[1].clone();
        let is_it = |node: &Node| node.port.to_string() == port;
        let at = self.servers.iter().position(is_it).unwrap();
        self.servers.remove(at).kill();
    }

    /// Gives the server that is left a replica.
    pub(crate) fn follow(&mut self) {
        let replica = follower(&self.servers[0]);
        self.servers.push(replica);
    }
}

/// What a sentinel is told of a primary.
fn watch(primary: &Node) -> String {
    format!(
        "sentinel monitor main 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds main 2000\n\
         sentinel failover-timeout main 6000\n",
        primary.port
    )
}

/// A server that has what another one has.
pub(crate) fn follower(primary: &Node) -> Node {
    let port = primary.port.to_string();
    let replica =
        Node::with(&[&QUICK[..], &["--replicaof", &format!("127.0.0.1 {port}")]].concat());
    replica.comes_to("replication", "master_link_status:up");
    replica
}

fn host(node: &Node) -> String {
    format!("127.0.0.1:{}", node.port)
}

/// Three primaries, and replicas of the first.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    made: AtomicUsize,
    /// How many nodes there have been.
    joined: usize,
    timeout: Duration,
}

/// How many primaries share the slots.
const PRIMARIES: usize = 3;

impl Cluster {
    /// A cluster of three primaries in which nobody is thought dead for a moment of silence.
    pub(crate) fn patient() -> Self {
        Self::new(Duration::from_secs(30), 0)
    }

    /// A cluster whose first primary has a replica that soon takes its place.
    pub(crate) fn quick() -> Self {
        Self::new(Duration::from_secs(2), 1)
    }

    fn new(timeout: Duration, replicas: usize) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            made: AtomicUsize::new(0),
            joined: 0,
            timeout,
        };
        for index in 0..PRIMARIES {
            cluster.join();
            let (first, last) = (
                index * 16384 / PRIMARIES,
                (index + 1) * 16384 / PRIMARIES - 1,
            );
            let node = &cluster.nodes[index];
            node.call(&[
                "CLUSTER",
                "ADDSLOTSRANGE",
                &first.to_string(),
                &last.to_string(),
            ]);
        }
        for node in &cluster.nodes {
            node.comes_to_cluster("cluster_state:ok");
        }
        for _ in 0..replicas {
            cluster.follow(0);
        }
        cluster
    }

    /// A node without slots that knows the others.
    fn join(&mut self) {
        let timeout = self.timeout.as_millis().to_string();
        let cluster = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            &timeout,
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-require-full-coverage",
            "no",
        ];
        let node = Node::with(&[&QUICK[..], &cluster[..]].concat());
        self.joined += 1;
        node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &self.joined.to_string()]);
        if let Some(first) = self.nodes.first() {
            let (port, bus) = (first.port.to_string(), first.bus.to_string());
            node.call(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        self.nodes.push(node);
        let known = format!("cluster_known_nodes:{}", self.joined);
        for node in &self.nodes {
            node.comes_to_cluster(&known);
        }
    }

    /// Gives a node a replica.
    pub(crate) fn follow(&mut self, primary: usize) {
        self.join();
        let id = self.nodes[primary].text(&["CLUSTER", "MYID"]);
        let replica = self.nodes.last().unwrap();
        block_on(eventually("the primary is known", || {
            let followed = replica.try_call(&["CLUSTER", "REPLICATE", &id]);
            std::future::ready(followed.ok())
        }));
        replica.comes_to("replication", "master_link_status:up");
        // Nobody takes a place that he is not known to be next to.
        for node in &self.nodes {
            block_on(eventually("the replica is known", || {
                let replicas = node.list(&["CLUSTER", "REPLICAS", &id]);
                std::future::ready((!replicas.is_empty()).then_some(()))
            }));
        }
    }

    pub(crate) fn address(&self, prefix: &str) -> String {
        let hosts = self.nodes.iter().take(PRIMARIES).map(host);
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("redis+cluster://{hosts}?volatile=true&prefix={prefix}")
    }

    /// The address of a store that nobody has opened.
    pub(crate) fn next_address(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.address(&format!("test{number}"))
    }

    pub(crate) fn slot_of(&self, prefix: &str) -> usize {
        let key = format!("{{{prefix}}}");
        let slot = self.nodes[0].call(&["CLUSTER", "KEYSLOT", &key]);
        redis::from_redis_value(slot).unwrap()
    }

    /// A prefix whose slot the first node has.
    pub(crate) fn prefix_of_first(&self) -> String {
        let mut prefixes = (0..).map(|number| format!("first{number}"));
        let is_first = |prefix: &String| self.slot_of(prefix) < 16384 / PRIMARIES;
        prefixes.find(is_first).unwrap()
    }

    /// Where the node stands that has the first slot now.
    fn owner(&self) -> usize {
        let asked = self.nodes.last().unwrap();
        let slots: Vec<redis::Value> =
            redis::from_redis_value(asked.call(&["CLUSTER", "SLOTS"])).unwrap();
        let ranges = slots.into_iter().map(|range| {
            let parts: Vec<redis::Value> = redis::from_redis_value(range).unwrap();
            let mut parts = parts.into_iter();
            let first: usize = redis::from_redis_value(parts.next().unwrap()).unwrap();
            let node: Vec<redis::Value> = redis::from_redis_value(parts.nth(1).unwrap()).unwrap();
            let port: u16 = redis::from_redis_value(node[1].clone()).unwrap();
            (first, port)
        });
        let (_, port) = ranges.min().unwrap();
        let is_it = |node: &Node| node.port == port;
        self.nodes.iter().position(is_it).unwrap()
    }

    /// Kills the node that has the first slot.
    pub(crate) fn kill_owner(&mut self) {
        let owner = self.owner();
        self.nodes.remove(owner).kill();
    }

    /// Gives the node that has the first slot a replica.
    pub(crate) fn follow_owner(&mut self) {
        self.follow(self.owner());
    }
}

impl Node {
    fn comes_to_cluster(&self, line: &str) {
        block_on(eventually(line, || {
            let info = self.text(&["CLUSTER", "INFO"]);
            std::future::ready(info.lines().any(|one| one == line).then_some(()))
        }));
    }
}
