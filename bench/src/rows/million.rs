//! A store that holds a million finished tasks, beside an empty one.
//!
//! The tasks are made the way every task is made, over the wire: it takes minutes,
//! and there is no second way into a store that could leave something out. The
//! server is restarted before it is measured, so that nothing is in its memory
//! that a restart would not find again.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use crate::{
    Result,
    bench::{Bench, finished_tasks, lifecycles},
    load::{Pace, Pool, Work},
    pairs::{Side, compare},
    process::Server,
    report::Row,
    rows::create::{BLOCK, Creator},
    stats::{Spread, per_second, percentile, thousands},
    wire::Request,
};

const HELD: u64 = 1_000_000;

/// Four rows: create, lifecycle, and get of few and of many different tasks.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn million(bench: &mut Bench) -> Result<()> {
    let (full_folder, empty_folder) = (bench.folder("million")?, bench.folder("million-empty")?);
    let server = bench.outlast(&full_folder)?;
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let began = Instant::now();
    let mut held = Vec::new();
    while (held.len() as u64) < HELD {
        let more = (HELD - held.len() as u64).min(50_000);
        held.extend(finished_tasks(&mut pool, &server, more).await?);
        eprintln!(
            "  {} tasks after {:.0} s",
            held.len(),
            began.elapsed().as_secs_f64()
        );
    }
    drop(pool);
    server.stop()?;
    let full = bench.outlast(&full_folder)?;
    let empty = bench.outlast(&empty_folder)?;
    let label = format!("with {} finished tasks", thousands(held.len() as f64));

    let (with, without) = creates(bench, &full, &empty).await?;
    let mut row = Row::new(format!("create, p50, {label}"));
    row.outlast = format!(
        "{} µs; starts in {:.0} ms",
        with.show(0),
        full.started_in.as_secs_f64() * 1e3
    );
    row.beside = format!("empty store {} µs", without.show(0));
    row.ratio = format!("{:.2} ×", with.median / without.median);
    row.reach = "≤ 1.5 ×".to_owned();
    row.figures = json!({"micros": [with, without]});
    bench.row(row);

    let mut sides = Vec::new();
    for server in [&full, &empty] {
        sides.push(Side {
            server,
            pool: Pool::open(server.address, bench.connections).await?,
            work: lifecycles(&server.host(), Pace::Hot),
        });
    }
    beside_empty(bench, sides, format!("lifecycles {label}")).await?;

    let mut pool = Pool::open(empty.address, bench.connections).await?;
    let few = Arc::new(finished_tasks(&mut pool, &empty, bench.tasks).await?);
    let held = Arc::new(held);
    let stride = held.len() / few.len();
    let some: Vec<String> = held.iter().step_by(stride.max(1)).cloned().collect();
    for (which, tasks) in [
        (format!("one of {} of them", some.len()), Arc::new(some)),
        ("any of them".to_owned(), held),
    ] {
        let mut sides = Vec::new();
        for (server, tasks) in [(&full, &tasks), (&empty, &few)] {
            sides.push(Side {
                server,
                pool: Pool::open(server.address, bench.connections).await?,
                work: Work::Polls {
                    request: Request::get(&server.host(), &tasks[0]),
                    tasks: Arc::clone(tasks),
                },
            });
        }
        beside_empty(bench, sides, format!("`tasks/get` of {which}, {label}")).await?;
    }
    Ok(())
}

/// The p50 of a create on either store, in blocks that take turns.
async fn creates(bench: &Bench, full: &Server, empty: &Server) -> Result<(Spread, Spread)> {
    let mut creators = [Creator::open(full).await?, Creator::open(empty).await?];
    let mut medians = [Vec::new(), Vec::new()];
    for _ in 0..bench.pairs {
        let mut micros = [Vec::new(), Vec::new()];
        let began = Instant::now();
        while began.elapsed() < bench.window {
            for (creator, micros) in creators.iter_mut().zip(&mut micros) {
                for _ in 0..BLOCK {
                    micros.push(creator.create().await?);
                }
            }
        }
        for (medians, micros) in medians.iter_mut().zip(&mut micros) {
            medians.push(f64::from(percentile(micros, 0.5)));
        }
    }
    let [full, empty] = medians.map(Spread::of);
    Ok((full, empty))
}

async fn beside_empty(bench: &mut Bench, sides: Vec<Side<'_>>, what: String) -> Result<()> {
    let sides: [Side<'_>; 2] = sides.try_into().map_err(|_| "two sides")?;
    let compared = compare(sides, bench.pairs, bench.window).await?;
    let mut row = Row::new(what);
    row.outlast = per_second(compared.rates[0].median);
    row.beside = format!("empty store {}", per_second(compared.rates[1].median));
    row.ratio = format!("{} of it", compared.ratio.show(2));
    row.reach = "≥ 0.67".to_owned();
    row.figures = compared.figures();
    bench.row(row);
    Ok(())
}
