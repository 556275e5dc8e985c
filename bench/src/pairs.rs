//! Two servers under the same work, in interleaved windows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Result,
    load::{Pool, Until, Work},
    process::{Server, own_cpu},
    stats::{Spread, percentile},
};

/// One of the two: a server, its connections and what is asked of it.
pub(crate) struct Side<'a> {
    pub(crate) server: &'a Server,
    pub(crate) pool: Pool,
    pub(crate) work: Work,
}

/// What all windows of one side measured.
#[derive(Debug, Default)]
struct Measured {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    loader: Vec<f64>,
    latencies: Vec<u32>,
}

/// The comparison of the first side with the second.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) rates: [Spread; 2],
    /// The server's CPU microseconds a request.
    pub(crate) cpu: [Spread; 2],
    /// The loader's CPU microseconds a request.
    pub(crate) loader: [Spread; 2],
    pub(crate) p99_us: [u32; 2],
    /// Rate by rate, pair by pair.
    pub(crate) ratio: Spread,
    pub(crate) cpu_ratio: Spread,
}

/// Runs `pairs` pairs of windows, the order alternating, after a warm-up of each.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn compare(
    mut sides: [Side<'_>; 2],
    pairs: usize,
    window: Duration,
) -> Result<Comparison> {
    for side in &mut sides {
        side.pool
            .run(&side.work, Until::Elapsed(window / 5))
            .await?;
    }
    let mut measured = [Measured::default(), Measured::default()];
    for pair in 0..pairs {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            let side = &mut sides[at];
            let (server_before, loader_before) = (side.server.cpu()?, own_cpu()?);
            let part = side.pool.run(&side.work, Until::Elapsed(window)).await?;
            let requests = part.requests as f64;
            let server = side.server.cpu()?.saturating_sub(server_before);
            let loader = own_cpu()?.saturating_sub(loader_before);
            measured[at].rates.push(part.rate());
            measured[at].cpu.push(server.as_secs_f64() * 1e6 / requests);
            measured[at]
                .loader
                .push(loader.as_secs_f64() * 1e6 / requests);
            measured[at].latencies.extend(part.latencies);
        }
    }
    let [mut first, mut second] = measured;
    let divided = |a: &[f64], b: &[f64]| Spread::of(a.iter().zip(b).map(|(a, b)| a / b));
    Ok(Comparison {
        ratio: divided(&first.rates, &second.rates),
        cpu_ratio: divided(&first.cpu, &second.cpu),
        p99_us: [
            percentile(&mut first.latencies, 0.99),
            percentile(&mut second.latencies, 0.99),
        ],
        rates: [Spread::of(first.rates), Spread::of(second.rates)],
        cpu: [Spread::of(first.cpu), Spread::of(second.cpu)],
        loader: [Spread::of(first.loader), Spread::of(second.loader)],
    })
}

impl Comparison {
    /// The numbers, for programs.
    pub(crate) fn figures(&self) -> Value {
        json!({
            "ratePerSecond": self.rates,
            "serverCpuMicros": self.cpu,
            "loaderCpuMicros": self.loader,
            "p99Micros": self.p99_us,
            "ratio": self.ratio,
            "cpuRatio": self.cpu_ratio,
        })
    }
}
