//! Throws changed inputs at everything that reads what strangers send, for a stated time.
//!
//! `cargo run -p outlast-fuzz -- [TARGET...] --seconds 60`. Each target begins with the inputs in
//! `fuzz/corpus/TARGET/`, changes them, and takes over what made the target answer in a way not seen
//! before: what an answer is, is the feedback, which needs neither a compiler of its own nor
//! instrumentation and reaches every branch that a stranger can tell apart. The seed and the
//! executions a second are printed. A panic anywhere in the process, an answer that breaks a rule
//! of the target and an answer that does not come are failures: the input is written into the
//! corpus, where every later run tries it first, and the exit code is 1.

mod bench;
mod corpus;
mod targets;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use outlast_core::testing::{Random, mutate, mutate_json, seed};

use crate::corpus::Corpus;
use crate::targets::{NAMES, Target};

#[derive(Parser)]
#[command(about = "Throws changed inputs at what reads them", long_about = None)]
struct Cli {
    /// Which targets; all of them by default.
    targets: Vec<String>,
    /// How long each of them runs.
    #[arg(long, env = "OUTLAST_FUZZ_SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Writes inputs that were answered in a new way into the corpus.
    #[arg(long)]
    keep: bool,
}

/// How long one answer may take before it counts as never coming.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so many executions a target is built anew, with the memory it filled.
const RENEW: u64 = 20_000;

/// Set by the panic hook, wherever the panic was: a runtime keeps those of its tasks to itself.
static PANICKED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let unknown: Vec<&String> = cli
        .targets
        .iter()
        .filter(|t| !NAMES.contains(&t.as_str()))
        .collect();
    if !unknown.is_empty() {
        eprintln!(
            "outlast-fuzz: unknown targets {unknown:?}; known are {}",
            NAMES.join(", ")
        );
        return ExitCode::from(2);
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::SeqCst);
        default(info);
    }));
    let seed = seed();
    println!("OUTLAST_SEED={seed}");
    let mut failed = 0;
    for name in NAMES {
        if !cli.targets.is_empty() && !cli.targets.iter().any(|target| target == name) {
            continue;
        }
        failed += u32::from(!run(name, &cli, seed));
    }
    println!("{} passed, {failed} failed", chosen(&cli) - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn chosen(cli: &Cli) -> u32 {
    let all = if cli.targets.is_empty() {
        NAMES.len()
    } else {
        cli.targets.len()
    };
    u32::try_from(all).expect("a handful")
}

/// Runs one target for its time; whether it held.
fn run(name: &str, cli: &Cli, seed: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs nothing that could be missing");
    let mut corpus = Corpus::read(name);
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let time = Duration::from_secs(cli.seconds);
    let mut executions = 0_u64;
    let mut target = None;
    let replayed = corpus.inputs.len() as u64;
    while executions < replayed || begun.elapsed() < time {
        if executions.is_multiple_of(RENEW) {
            target = Some(runtime.block_on(Target::new(name)));
        }
        let target = target.as_mut().expect("built before the first");
        let input = match usize::try_from(executions) {
            // Everything in the corpus as it is, first.
            Ok(at) if executions < replayed => corpus.inputs[at].clone(),
            _ => changed(&mut random, &corpus.inputs),
        };
        executions += 1;
        let answered = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, target.try_one(&input)).await });
        let problem = match answered {
            Err(_) => Some("no answer came".to_owned()),
            Ok(Err(problem)) => Some(problem),
            Ok(Ok(_)) if PANICKED.load(Ordering::SeqCst) => Some("something panicked".to_owned()),
            Ok(Ok(kind)) => {
                corpus.answered(&input, &kind, cli.keep);
                None
            }
        };
        if let Some(problem) = problem {
            let file = corpus.found(&input);
            println!(
                "FAIL {name}: {problem}; the input is in {}: {:?}",
                file.display(),
                String::from_utf8_lossy(&input)
            );
            PANICKED.store(false, Ordering::SeqCst);
            return false;
        }
    }
    let rate = executions as f64 / begun.elapsed().as_secs_f64();
    println!(
        "ok   {name}: {executions} executions, {rate:.0} a second, {} kinds of answers",
        corpus.kinds()
    );
    true
}

/// One of the inputs, changed: as bytes, or as the JSON that it is.
fn changed(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[random.index(inputs.len())].clone();
    if !random.one_in(3)
        && let Ok(mut value) = serde_json::from_slice(&input)
    {
        for _ in 0..=random.below(2) {
            mutate_json(random, &mut value);
        }
        return value.to_string().into_bytes();
    }
    mutate(random, &mut input);
    input
}
