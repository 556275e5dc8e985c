//! An authorization server in this process, for the rows of users by JSON Web Tokens: it publishes one
//! key and signs one token.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use outlast::core::{Clock as _, SystemClock};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Result;

const KEY_ID: &str = "bench";

/// An authorization server, for as long as the runtime lives.
pub(crate) struct Issuer {
    address: SocketAddr,
    pkcs8: Vec<u8>,
}

impl Issuer {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port, or no randomness.
    pub(crate) async fn start() -> Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| "no randomness for a key")?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| "no key was made")?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let keys = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": KEY_ID, "use": "sig", "alg": "EdDSA"},
        ]});
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let metadata = json!({
            "issuer": format!("http://{address}"), "jwks_uri": format!("http://{address}/keys"),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", says(metadata))
            .route("/keys", says(keys));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Issuer {
            address,
            pkcs8: pkcs8.as_ref().to_vec(),
        })
    }

    /// The `iss` of its tokens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token for this audience that is good for a day, as large as those of providers.
    ///
    /// # Errors
    /// The key cannot sign.
    pub(crate) fn token(&self, audience: &str) -> Result<String> {
        let now = SystemClock::new().now().as_millis() / 1000;
        let claims = json!({
            "iss": self.url(), "aud": audience, "sub": "248289761001", "iat": now,
            "exp": now + 24 * 3600, "scope": "openid profile tasks:run",
            "groups": ["engineering", "on-call"], "email": "alice@example.com",
            "name": "Alice Liddell", "jti": "c0ffee5e-0f6c-4c1f-9d0b-1f1f3d3c7a11",
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        Ok(encode(
            &header,
            &claims,
            &EncodingKey::from_ed_der(&self.pkcs8),
        )?)
    }
}

fn says(document: Value) -> axum::routing::MethodRouter {
    let document = Arc::new(document);
    get(move || {
        let document = Arc::clone(&document);
        async move { Json((*document).clone()) }
    })
}
