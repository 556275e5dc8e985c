//! The stream of a session for what the server sends by itself.

use std::sync::Arc;

use http::header::ACCEPT;

use super::super::backoff::Backoff;
use super::exchange::{EVENTS, Read, Shared};
use super::response::media_type;

/// Keeps the stream open for what the server sends by itself, for as long as the session lasts.
pub(super) async fn standing_stream(shared: Arc<Shared>) {
    let mut last_id: Option<String> = None;
    let mut backoff = Backoff::endless();
    loop {
        let mode = shared.mode().clone();
        let mut get = shared
            .with_headers(shared.client.get(shared.url.clone()), &mode)
            .header(ACCEPT, EVENTS);
        if let Some(id) = last_id.as_deref().filter(|id| !id.is_empty()) {
            get = get.header("last-event-id", id);
        }
        match get.send().await {
            Ok(response) if response.status().is_success() && media_type(&response) == EVENTS => {
                backoff = Backoff::endless();
                match shared.read(response, &mode, None, last_id.clone()).await {
                    Ok(Read::End {
                        last_id: seen,
                        retry,
                        ..
                    }) => {
                        last_id = seen;
                        backoff.at_least(retry);
                    }
                    Ok(Read::Answer(_)) => {}
                    Err(error) => tracing::debug!(?error, "the stream of the server is broken"),
                }
            }
            // A server in trouble, or in the middle of a restart.
            Ok(response) if response.status().is_server_error() => {}
            // Not offered, or the session is gone; a new session opens its own.
            Ok(_) => return,
            Err(error) => tracing::trace!(%error, "the stream of the server cannot be opened yet"),
        }
        backoff.pause().await;
    }
}
