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
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut peers = Vec::new();
    let python = home.join("../.deps/fastmcp4/bin/python");
    if python.is_file() {
        peers.push(Peer {
            name: "FastMCP 4 in memory",
            reach: "≥ 40 ×",
            fresh: false,
            program: python,
            arguments: vec![home.join("peers/fastmcp4.py")],
        });
    } else {
        bench.leave_out("FastMCP 4, which is not installed; run `scripts/setup interop`");
    }
    peers.push(Peer {
        name: "rmcp's TaskManager in memory, a new process each window",
        reach: "≥ 2 ×",
        fresh: true,
        program: build_rmcp(home)?,
        arguments: Vec::new(),
    });
    Ok(peers)
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
