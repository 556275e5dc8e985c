//! `outlast/overview`, both eras: how many of the caller's tasks there are, what is paused, and how busy the
//! server is.
//!
//! No part of the protocol; the name is in our own space, so that it collides with nothing. No params. The
//! result has `counts`, a list of `tool`, `phase`, `standing` (the words of `outlast/tasks`) and `count`; `paused`, names of tools and `*` for
//! all; `server`, its `name` and `version`; `worker`, the process that answers, with `since`, `slots`,
//! `slotsTaken`, `leasesLost`; `workers`, all processes that run tasks of the store, each with `machine`, `pid` and the
//! same; `store`, where tasks are kept; and `now`, by the store's clock.

use std::collections::BTreeMap;

use outlast_core::limit::Queue;
use outlast_core::status::Era;
use outlast_core::worker::WorkerSign;
use outlast_core::{Principal, Scope};
use serde_json::{Value, json};

use crate::context::{Context, Reply, from_store};

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let handle = &cx.server.handle;
    let stats = handle.stats().await.map_err(from_store)?;
    let controls = handle.controls().await.map_err(from_store)?;
    let workers = handle.workers().await.map_err(from_store)?;
    // Of everybody's tasks those of several owners are one count.
    let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
    for (kind, count) in stats.counts {
        if sees(cx.principal, &kind.owner) {
            let same = (kind.tool, kind.phase.as_str(), kind.standing.as_str());
            *kinds.entry(same).or_default() += count;
        }
    }
    let counts = kinds.into_iter().map(|((tool, phase, standing), count)| {
        json!({"tool": tool, "phase": phase, "standing": standing, "count": count})
    });
    let paused = controls.paused.iter().map(|queue| match queue {
        Queue::All => "*",
        Queue::Tool(name) => name,
    });
    let (figures, config) = (handle.figures(), &cx.server.config);
    let said = [
        ("counts", counts.collect::<Value>()),
        ("paused", paused.collect::<Value>()),
        (
            "server",
            json!({"name": config.name, "version": config.version}),
        ),
        (
            "worker",
            json!({
                "since": figures.since.to_string(),
                "slots": figures.slots,
                "slotsTaken": figures.slots_taken,
                "leasesLost": figures.leases_lost,
            }),
        ),
        ("workers", workers.iter().map(worker).collect::<Value>()),
        ("store", handle.store_info().location.into()),
        ("now", handle.now().to_string().into()),
    ];
    Ok(cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        for (name, value) in said {
            result.raw(name, &value.to_string());
        }
    }))
}

fn worker(sign: &WorkerSign) -> Value {
    json!({
        "machine": sign.machine,
        "pid": sign.pid,
        "since": sign.since.to_string(),
        "slots": sign.slots,
        "slotsTaken": sign.slots_taken,
        "leasesLost": sign.leases_lost,
    })
}

/// Whether this caller sees tasks of `owner` in counts.
fn sees(who: &Principal, owner: &outlast_core::Owner) -> bool {
    who.owner() == owner || who.may(Scope::Admin)
}
