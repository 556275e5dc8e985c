//! How many requests came, by era and method, for whoever measures the server.
//!
//! Counted where a request is dispatched. Names come from strangers, so a method that is none of ours is
//! counted as `other`.

use std::sync::atomic::{AtomicU64, Ordering};

use outlast_core::status::Era;

use crate::server::Server;

/// The commonest first: a name is looked for from the front.
const METHODS: [&str; 30] = [
    "tools/call",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/update",
    "tasks/list",
    "tools/list",
    "server/discover",
    "initialize",
    "ping",
    "subscriptions/listen",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "outlast/logs",
    "outlast/pause",
    "outlast/share",
    "outlast/signal",
    "outlast/retry",
    "outlast/resend",
    "outlast/webhooks",
    "outlast/schedule",
    "outlast/schedules",
    "other",
];

const OTHER: usize = METHODS.len() - 1;

#[derive(Default)]
pub(crate) struct Requests {
    legacy: [AtomicU64; METHODS.len()],
    modern: [AtomicU64; METHODS.len()],
}

impl Requests {
    pub(crate) fn note(&self, era: Era, method: &str) {
        let place = METHODS.iter().position(|known| *known == method);
        let counts = match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        };
        counts[place.unwrap_or(OTHER)].fetch_add(1, Ordering::Relaxed);
    }
}

impl Server {
    /// How many requests of each method came in each era since the server began; without those that
    /// never came.
    pub fn requests(&self) -> Vec<(Era, &'static str, u64)> {
        let Requests { legacy, modern } = &self.0.requests;
        let counts = [(Era::Legacy, legacy), (Era::Modern, modern)];
        let mut requests = Vec::new();
        for (era, counts) in counts {
            for (method, count) in METHODS.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    requests.push((era, *method, count));
                }
            }
        }
        requests
    }
}
