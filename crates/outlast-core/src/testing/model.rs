//! The model test: the same random commands against the memory store and another one, compared after
//! every step.
//!
//! The memory store is the pure state machine and a mutex, so whatever the two disagree on is a fault
//! of the other (or of the model). What the state machine itself may get wrong, an oracle finds that is
//! told the rules a second time. A case is a list of commands drawn from a seed; they name tasks and
//! leases by small numbers, so every list can be run, and a failing one is cut down before it is
//! shown. `OUTLAST_SEED` repeats a case.

mod command;
mod oracle;
mod pair;
mod shape;
mod world;

use std::ops::Range;
use std::sync::Arc;

use command::Command;
use pair::Pair;

use super::conformance::Fixture;
use super::random::Random;

/// Commands in one case.
const LENGTH: usize = 60;

/// Runs a random command sequence for each of `seeds` against a store of `fixture` and the memory
/// store.
///
/// # Panics
/// If the stores ever differ, or the model breaks a rule. The message holds the seed, the shortest sequence found that shows the
/// difference, and what differed.
pub async fn model(fixture: impl Fixture, seeds: Range<u64>) {
    let fixture: Arc<dyn Fixture> = Arc::new(fixture);
    println!("model: seeds {seeds:?}");
    for seed in seeds {
        let mut random = Random::new(seed);
        // Limits and quotas mean nothing before there are rules.
        let rules = random.one_in(2).then(|| Command::draw_rules(&mut random));
        // Calls seldom mean the same work by chance.
        let alike = random.one_in(3);
        let drawn = (0..LENGTH).map(|_| match alike {
            true => Command::draw_alike(&mut random),
            false => Command::draw(&mut random),
        });
        let commands: Vec<_> = rules.into_iter().chain(drawn).collect();
        if let Err(difference) = Pair::run(&fixture, &commands).await {
            let (commands, difference) = shrink(&fixture, commands, difference).await;
            let steps: Vec<_> = commands.iter().map(|step| format!("  {step:?}")).collect();
            panic!(
                "the model failed (OUTLAST_SEED={seed}):\n{difference}\nafter:\n{}",
                steps.join("\n")
            );
        }
    }
}

/// Drops commands as long as some difference remains.
async fn shrink(
    fixture: &Arc<dyn Fixture>,
    mut commands: Vec<Command>,
    mut difference: String,
) -> (Vec<Command>, String) {
    let mut size = commands.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < commands.len() {
            let mut fewer = commands.clone();
            fewer.drain(start..(start + size).min(fewer.len()));
            match Pair::run(fixture, &fewer).await {
                Err(still) => (commands, difference) = (fewer, still),
                Ok(()) => start += size,
            }
        }
        size /= 2;
    }
    (commands, difference)
}
