//! The crier: tells clients of the older era that a list, or a resource they have subscribed to, has
//! changed.
//!
//! One for each server. Each session hears it on one stream, the one for what belongs to no request
//! (2025-11-25 transports, "Multiple Connections"); where none is open nobody is told, and the client
//! finds out by reading again.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use crate::jsonrpc::notification;
use crate::offer::{Revisions, Updated};
use crate::server::Inner;

/// The list of tools has changed.
pub(crate) const TOOLS: &str = "notifications/tools/list_changed";
/// The list of prompts has changed.
pub(crate) const PROMPTS: &str = "notifications/prompts/list_changed";
/// The list of resources or of resource templates has changed.
pub(crate) const RESOURCES: &str = "notifications/resources/list_changed";

/// A resource has changed.
pub(crate) const RESOURCE_UPDATED: &str = "notifications/resources/updated";

/// The notifications about the lists that have changed.
pub(crate) fn changed_lists(
    before: Revisions,
    now: Revisions,
) -> impl Iterator<Item = &'static str> {
    let lists = [
        (before.tools != now.tools, TOOLS),
        (before.prompts != now.prompts, PROMPTS),
        (before.resources != now.resources, RESOURCES),
    ];
    lists
        .into_iter()
        .filter_map(|(changed, method)| changed.then_some(method))
}

/// Tells until the server stops.
pub(crate) fn cry(server: &Arc<Inner>) -> impl Future<Output = ()> + use<> {
    let mut offer = server.catalog.follow();
    let mut updates = server.catalog.follow_updates();
    let mut told = offer.borrow_and_update().revisions;
    let stopping = server.stopping.clone();
    let server = Arc::downgrade(server);
    async move {
        loop {
            let updated = tokio::select! {
                changed = offer.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                updated = updates.recv() => match updated {
                    Ok(updated) => Some(Some(updated)),
                    // Too many to know which.
                    Err(RecvError::Lagged(_)) => Some(None),
                    Err(RecvError::Closed) => return,
                },
                () = stopping.cancelled() => return,
            };
            let Some(server) = server.upgrade() else {
                return;
            };
            match updated {
                None => {
                    let now = offer.borrow_and_update().revisions;
                    for method in changed_lists(told, now) {
                        lists_changed(&server, method);
                    }
                    told = now;
                }
                Some(updated) => resource_updated(&server, updated.as_ref()),
            }
        }
    }
}

fn lists_changed(server: &Inner, method: &str) {
    for session in server.sessions.reachable() {
        if let Some(outlet) = session.general() {
            outlet.send(notification(method, &serde_json::json!({})));
        }
    }
}

/// Tells of one resource, or of all.
fn resource_updated(server: &Inner, updated: Option<&Updated>) {
    for session in server.sessions.reachable() {
        let uris = match updated {
            Some(updated) if updated.is_for(&session.owner) => session.subscribed_to(&updated.uri),
            Some(_) => Vec::new(),
            None => session.subscribed(),
        };
        for uri in uris {
            if let Some(outlet) = session.general() {
                let params = serde_json::json!({ "uri": uri });
                outlet.send(notification(RESOURCE_UPDATED, &params));
            }
        }
    }
}
