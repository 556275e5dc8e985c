//! Connections under TLS: what is trusted, and what is shown.
//!
//! Without `ca=FILE` in the address, whatever the machine trusts is trusted (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` say otherwise). A certificate is never taken unchecked: there is no setting for that.

use outlast_core::{Error, Result};
use redis::Client;

use crate::failure::explain;
use crate::options::Address;

/// The driver for an address.
///
/// # Errors
/// The address or a file that it names cannot be used; the sentence says which and why.
#[cfg(feature = "tls")]
pub(crate) fn client(address: &Address) -> Result<Client> {
    use redis::{ClientTlsConfig, TlsCertificates};

    // A program around this one may have chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = &address.location;
    let told = |error| explain(store, error);
    if address.certificates.is_empty() {
        return Client::open(address.url.as_str()).map_err(told);
    }
    let read = |file: &Option<String>| {
        match file {
        None => Ok(None),
        Some(file) => std::fs::read(file).map(Some).map_err(|error| {
            Error::broken(format!(
                "the task store {store} is to be reached with the certificates in {file}, which cannot be \
                 read: {error}"
            ))
        }),
    }
    };
    let files = &address.certificates;
    let client_tls = match (read(&files.cert)?, read(&files.key)?) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig {
            client_cert,
            client_key,
        }),
        _ => None,
    };
    let certificates = TlsCertificates {
        client_tls,
        root_cert: read(&files.ca)?,
    };
    Client::build_with_tls(address.url.as_str(), certificates).map_err(told)
}

/// The driver for an address.
///
/// # Errors
/// The address cannot be used; `rediss://` needs the feature `tls`.
#[cfg(not(feature = "tls"))]
pub(crate) fn client(address: &Address) -> Result<Client> {
    let store = &address.location;
    if address.url.starts_with("rediss://") {
        return Err(Error::Invalid(format!(
            "this program was built without TLS, so it cannot reach {store}: build it with the feature `tls`"
        )));
    }
    Client::open(address.url.as_str()).map_err(|error| explain(store, error))
}
