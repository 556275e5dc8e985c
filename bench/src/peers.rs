//! The peers that are measured beside Outlast, each as its own users run it.
//!
//! They are no dependency of this workspace: FastMCP lives in the environment
//! that `scripts/setup interop` makes, and the rmcp server is a workspace of its
//! own under `bench/peers/rmcp`, built here when peers are asked for.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    bench::Bench,
    process::{Server, free_address},
};

/// A server to measure beside ours.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What Outlast wants to be, compared with it.
    pub(crate) reach: &'static str,
    /// Whether each window gets a new process.
    pub(crate) fresh: bool,
    program: PathBuf,
    arguments: Vec<PathBuf>,
    /// Where it keeps its tasks, if not in memory.
    store: Option<String>,
}

impl Peer {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(&self, bench: &Bench) -> Result<Server> {
        let address = free_address()?;
        let folder = bench.folder("peers")?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(address.to_string())
            .args(&self.store)
            .current_dir(&folder);
        Server::start(command, address, &folder.join("peer.log"))
    }
}

/// The peers that can be started, when peers were asked for; says what is left
/// out and why.
///
/// # Errors
/// If a peer that should be built does not build.
pub(crate) fn installed(bench: &mut Bench) -> Result<Vec<Peer>> {
    if !bench.peers {
        bench.leave_out("FastMCP 4 and rmcp, measured with --peers");
        return Ok(Vec::new());
    }
    let mut peers: Vec<_> = fastmcp(bench, None).into_iter().collect();
    peers.push(Peer {
        name: "rmcp's TaskManager in memory, a new process each window",
        reach: "≥ 2 ×",
        fresh: true,
        program: build_rmcp(Path::new(env!("CARGO_MANIFEST_DIR")))?,
        arguments: Vec::new(),
        store: None,
    });
    Ok(peers)
}

/// FastMCP 4 on the Redis at this address, or in memory; says so if it is not installed.
pub(crate) fn fastmcp(bench: &mut Bench, redis: Option<String>) -> Option<Peer> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = home.join("../.deps/fastmcp4/bin/python");
    if !program.is_file() {
        bench.leave_out("FastMCP 4, which is not installed; run `scripts/setup interop`");
        return None;
    }
    let (name, reach) = match &redis {
        None => ("FastMCP 4 in memory", "≥ 40 ×"),
        Some(_) => ("FastMCP 4 on the same Redis", "≥ 20 ×"),
    };
    Some(Peer {
        name,
        reach,
        fresh: false,
        program,
        arguments: vec![home.join("peers/fastmcp4.py")],
        store: redis,
    })
}

fn build_rmcp(home: &Path) -> Result<PathBuf> {
    let target = home.join("../target/peers");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(home.join("peers/rmcp/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !status.success() {
        return Err(format!("the rmcp peer does not build: cargo ended with {status}").into());
    }
    Ok(target.canonicalize()?.join("release/bench-peer-rmcp"))
}
