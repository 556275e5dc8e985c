//! A peer that goes through the same lifecycles as Outlast, window by window.

use serde_json::json;

use crate::{
    Result,
    bench::{Bench, lifecycles as work},
    load::{Pace, Pool, Until},
    peers::Peer,
    process::Server,
    report::Row,
    stats::{Spread, per_second},
};

/// A peer under the same work.
pub(crate) struct Rival {
    peer: Peer,
    pace: Pace,
    /// A process that serves all windows; `None` where each has its own.
    kept: Option<(Server, Pool)>,
    rates: Vec<f64>,
}

impl Rival {
    /// Starts the peer and finds the pace of polling that suits it better: hot
    /// polls may starve the very process that should do the work, and a client
    /// that ramps up may wait too long. The peer is measured at its better one.
    ///
    /// # Errors
    /// It does not start, or answers wrongly.
    pub(crate) async fn prepare(peer: Peer, bench: &Bench) -> Result<Self> {
        let mut best = (Pace::Hot, 0.0);
        for pace in [Pace::Hot, Pace::Ramp] {
            let server = peer.start(bench)?;
            let mut pool = Pool::open(server.address, bench.connections).await?;
            let work = work(&server.host(), pace);
            let rate = pool
                .run(&work, Until::Elapsed(bench.window / 2))
                .await?
                .rate();
            if rate > best.1 {
                best = (pace, rate);
            }
        }
        let mut kept = None;
        if !peer.fresh {
            let server = peer.start(bench)?;
            let pool = Pool::open(server.address, bench.connections).await?;
            kept = Some((server, pool));
        }
        Ok(Rival {
            peer,
            pace: best.0,
            kept,
            rates: Vec::new(),
        })
    }

    /// One window of its lifecycles.
    ///
    /// # Errors
    /// The first wrong answer.
    pub(crate) async fn window(&mut self, bench: &Bench) -> Result<()> {
        let mut own = None;
        let (server, pool) = if let Some(kept) = &mut self.kept {
            (&kept.0, &mut kept.1)
        } else {
            let server = self.peer.start(bench)?;
            let pool = Pool::open(server.address, bench.connections).await?;
            let own = own.insert((server, pool));
            (&own.0, &mut own.1)
        };
        let work = work(&server.host(), self.pace);
        self.rates
            .push(pool.run(&work, Until::Elapsed(bench.window)).await?.rate());
        Ok(())
    }
    /// The row of our rates beside its own, window by window.
    pub(crate) fn row(self, rates: &[f64]) -> Row {
        let ratio = Spread::of(
            rates
                .iter()
                .zip(&self.rates)
                .map(|(ours, theirs)| ours / theirs),
        );
        let (ours, theirs) = (Spread::of(rates.to_vec()), Spread::of(self.rates));
        let mut row = Row::new(format!("the same beside {}", self.peer.name));
        row.outlast = per_second(ours.median);
        row.beside = format!(
            "{} ({}–{})",
            per_second(theirs.median),
            per_second(theirs.low),
            per_second(theirs.high)
        );
        row.ratio = format!("{} ×", ratio.show(1));
        self.peer.reach.clone_into(&mut row.reach);
        row.figures = json!({"ratePerSecond": [ours, theirs], "ratio": ratio});
        row
    }
}
