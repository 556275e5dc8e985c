//! A store in Redis or Valkey: whether it answers, and whether it keeps what it is told.
//!
//! What is read and what is said of it are the start's own; nothing is written, and the store is not opened.

use outlast_redis::{Examination, Options, RedisStore};

use super::Finding;

const WHAT: &str = "store";

/// The store at `address` for the server `server`.
pub(super) fn examine(address: &str, server: &str) -> Vec<Finding> {
    match RedisStore::examine(&Options::new(address, server)) {
        Ok(found) => judge(&found),
        Err(error) => vec![Finding::fail(
            WHAT,
            error.to_string(),
            "mend what it says, or [server] store",
        )],
    }
}

fn judge(found: &Examination) -> Vec<Finding> {
    let Examination {
        product,
        version,
        server,
        replicas,
        ..
    } = found;
    let followed = match replicas {
        0 => String::new(),
        1 => ", with a replica".into(),
        many => format!(", with {many} replicas"),
    };
    // A store of several shards may be on several servers.
    let verb = if server.contains(", ") {
        "answer"
    } else {
        "answers"
    };
    let answers = format!("{server} {verb}, {product} {version}{followed}");
    let mut findings = vec![Finding::ok(WHAT, answers)];
    let said = |said: &str| format!("it {said}");
    for problem in &found.problems {
        findings.push(Finding::fail(WHAT, said(&problem.said), &*problem.advice));
    }
    for warning in &found.warnings {
        findings.push(Finding::warn(WHAT, said(&warning.said), &*warning.advice));
    }
    if found.durable {
        findings.push(Finding::ok("durability", "it keeps an append-only file"));
    } else if found.problems.is_empty() {
        findings.push(Finding::warn(
            "durability",
            "it keeps no append-only file, which the address accepts: a restart of it loses tasks",
            "set `appendonly yes` there, and leave `volatile=true` out of the address",
        ));
    }
    findings
}
