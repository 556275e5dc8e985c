//! `initialize`, older era: agrees on a version and opens a session.

use std::sync::Arc;

use outlast_core::Principal;
use outlast_core::status::Era;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{discover, tasks_list};
use crate::context::Transport;
use crate::jsonrpc::{RpcError, begin_response, end_response, owned};
use crate::protocol::{Capabilities, Params, Version};
use crate::server::Inner;
use crate::session::{Identity, Session};
use crate::wire::{self, Object};

#[derive(Deserialize)]
struct Initialize<'a> {
    #[serde(rename = "protocolVersion")]
    version: String,
    #[serde(borrow)]
    capabilities: &'a RawValue,
    #[serde(borrow, rename = "clientInfo")]
    client_info: &'a RawValue,
}

#[derive(Deserialize)]
struct ClientInfo {
    #[expect(dead_code, reason = "checked to be there")]
    name: String,
    #[expect(dead_code, reason = "checked to be there")]
    version: String,
}

/// Answers the handshake; returns the session, which nobody knows yet. It is that of `before` if that client
/// said the same of itself.
///
/// # Errors
/// Something that the handshake must say is missing or of the wrong type.
pub(crate) fn handle(
    server: &Arc<Inner>,
    id: &RawValue,
    params: &Params<'_>,
    principal: &Principal,
    transport: Transport,
    before: Option<Identity>,
) -> Result<(Vec<u8>, Arc<Session>), RpcError> {
    server.requests.note(Era::Legacy, "initialize");
    let asked: Initialize<'_> = params.read()?;
    let version = negotiate(&asked.version, transport);
    let capabilities = Capabilities::parse(asked.capabilities, version).ok_or_else(|| {
        RpcError::invalid_params(r#""capabilities" must be an object of objects"#)
    })?;
    let info = crate::protocol::object::<ClientInfo>(asked.client_info);
    if info.is_none() || owned("clientInfo", asked.client_info).is_err() {
        return Err(RpcError::invalid_params(
            r#""clientInfo" must be an object with "name" and "version""#,
        ));
    }
    let same = |before: &Identity| (before.version, before.capabilities) == (version, capabilities);
    let identity = before
        .filter(same)
        .unwrap_or_else(|| Identity::new(version, capabilities, principal, server.handle.now()));
    let session = Session::new(
        identity,
        principal.owner().clone(),
        Some(asked.client_info.get()),
    );
    let mut out = begin_response(id.get(), 384);
    {
        let mut result = Object::new(&mut out);
        result.plain("protocolVersion", version.as_str());
        {
            let mut capabilities = result.object("capabilities");
            discover::offered(&mut capabilities, server, version);
            if version.has_legacy_tasks() {
                let mut tasks = capabilities.object("tasks");
                if tasks_list::is_offered(transport, principal) {
                    tasks.object("list");
                }
                tasks.object("cancel");
                tasks.object("requests").object("tools").object("call");
            }
        }
        wire::implementation(&mut result.object("serverInfo"), &server.config, version);
        if let Some(instructions) = &server.config.instructions {
            result.text("instructions", instructions);
        }
    }
    end_response(&mut out);
    Ok((out, session))
}

/// The version asked for, if it is spoken over this transport; else the latest of the era.
fn negotiate(asked: &str, transport: Transport) -> Version {
    Version::parse(asked)
        .filter(|version| *version <= Version::LATEST_LEGACY)
        .filter(|version| transport == Transport::Lines || *version > Version::V2024_11_05)
        .unwrap_or(Version::LATEST_LEGACY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_asked_for_is_echoed_where_it_is_spoken() {
        assert_eq!(
            negotiate("2025-06-18", Transport::Http),
            Version::V2025_06_18
        );
        assert_eq!(
            negotiate("2024-11-05", Transport::Lines),
            Version::V2024_11_05
        );
        assert_eq!(
            negotiate("2024-11-05", Transport::Http),
            Version::V2025_11_25
        );
        assert_eq!(
            negotiate("2026-07-28", Transport::Http),
            Version::V2025_11_25
        );
        assert_eq!(
            negotiate("1999-01-01", Transport::Lines),
            Version::V2025_11_25
        );
    }
}
