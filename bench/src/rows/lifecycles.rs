//! Whole lifecycles: create a task, run it, poll it to its end.
//!
//! Outlast flushes every create and every finish to the disk; the peers keep
//! their tasks in memory. So two figures stand beside the rate: what the disk
//! does in bare commits, and what the peers do without one. A window of each
//! follows the other within a round. The store keeps all its tasks from window to
//! window; rmcp, which slows down with the tasks it holds, gets a new process for
//! every window.

use serde_json::json;

use crate::{
    Result,
    bench::{Bench, lifecycles as work},
    disk::Bare,
    load::{Pace, Pool, Until},
    peers,
    report::Row,
    rival::Rival,
    stats::{Spread, per_second, percentile},
};

/// The rows of lifecycles.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn lifecycles(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("lifecycles")?;
    let server = bench.outlast(&folder)?;
    let outlast = work(&server.host(), Pace::Hot);
    let bare = Bare::open(&folder)?;
    let mut rivals = Vec::new();
    for peer in peers::installed(bench)? {
        rivals.push(Rival::prepare(peer, bench).await?);
    }

    // Only now: the server closes connections that say nothing at first.
    let mut pool = Pool::open(server.address, bench.connections).await?;
    pool.run(&outlast, Until::Elapsed(bench.window / 5)).await?;
    let (mut rates, mut commits, mut cpu, mut polls) = (vec![], vec![], vec![], vec![]);
    let mut latencies = Vec::new();
    for _ in 0..bench.pairs {
        let mut bare_commits = bare.commits_in(bench.window / 4)?;
        let before = server.cpu()?;
        let window = pool.run(&outlast, Until::Elapsed(bench.window)).await?;
        let used = server.cpu()?.saturating_sub(before);
        // One half before and one half after: disks that others use change their pace.
        bare_commits += bare.commits_in(bench.window / 4)?;
        commits.push(bare_commits as f64 * 2.0 / bench.window.as_secs_f64());
        rates.push(window.rate());
        cpu.push(used.as_secs_f64() * 1e6 / window.done as f64);
        polls.push(window.requests as f64 / window.done as f64 - 1.0);
        latencies.extend(window.latencies);
        for rival in &mut rivals {
            rival.window(bench).await?;
        }
    }
    let per_commit = Spread::of(
        rates
            .iter()
            .zip(&commits)
            .map(|(rate, commit)| rate / commit),
    );
    let (rate, commit, cpu) = (
        Spread::of(rates.clone()),
        Spread::of(commits),
        Spread::of(cpu),
    );
    let (p50, p99) = (
        percentile(&mut latencies, 0.5),
        percentile(&mut latencies, 0.99),
    );
    let mut row = Row::new("lifecycles on SQLite, `synchronous=FULL`");
    row.outlast = format!(
        "{} ({}–{}), p50 {:.1} ms, p99 {:.1} ms, {:.0} µs CPU and {:.1} polls each",
        per_second(rate.median),
        per_second(rate.low),
        per_second(rate.high),
        f64::from(p50) / 1e3,
        f64::from(p99) / 1e3,
        cpu.median,
        Spread::of(polls.clone()).median,
    );
    row.beside = format!("bare FULL commits {}", per_second(commit.median));
    row.ratio = format!("{} lifecycles a bare commit", per_commit.show(2));
    row.reach = "≥ 2.5 on disks under 2,000 commits/s".to_owned();
    row.figures = json!({
        "ratePerSecond": rate, "bareCommitsPerSecond": commit, "perBareCommit": per_commit,
        "serverCpuMicros": cpu, "pollsEach": Spread::of(polls), "p50Micros": p50, "p99Micros": p99,
    });
    bench.row(row);

    for rival in rivals {
        bench.row(rival.row(&rates));
    }
    Ok(())
}
