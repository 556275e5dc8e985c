//! Drivers for addresses, and what is trusted and shown under TLS.
//!
//! Without `ca=FILE` in the address, whatever the machine trusts is trusted (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` say otherwise). A certificate is never taken unchecked: there is no setting for that.

use outlast_core::{Error, Result};
use redis::Client;

use crate::address::Certificates;
use crate::failure::explain;

/// The driver for the address `url`, which belongs to the address `store` without secrets.
///
/// # Errors
/// The address or a file that it names cannot be used; the sentence says which and why.
#[cfg(feature = "tls")]
pub(crate) fn client(store: &str, url: &str, files: &Certificates) -> Result<Client> {
    use redis::{ClientTlsConfig, TlsCertificates};

    // A program around this one may have chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let told = |error| explain(store, false, error);
    if files.is_empty() {
        return Client::open(url).map_err(told);
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
    Client::build_with_tls(url, certificates).map_err(told)
}

/// The driver for the address `url`, which belongs to the address `store` without secrets.
///
/// # Errors
/// The address cannot be used; `rediss://` needs the feature `tls`.
#[cfg(not(feature = "tls"))]
pub(crate) fn client(store: &str, url: &str, _: &Certificates) -> Result<Client> {
    if url.starts_with("rediss://") {
        return Err(Error::Invalid(format!(
            "this program was built without TLS, so it cannot reach {store}: build it with the feature `tls`"
        )));
    }
    Client::open(url).map_err(|error| explain(store, false, error))
}
