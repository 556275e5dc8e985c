//! Taking a port.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// The address cannot be listened on; the message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub struct BindError {
    address: String,
    problem: String,
    #[source]
    source: Option<io::Error>,
}

impl BindError {
    fn new(address: &str, error: io::Error) -> Self {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the port is in use; stop the other program or choose another port with --listen"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "not permitted; ports below 1024 need privileges, choose a higher one".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => error.to_string(),
        };
        Self {
            address: address.to_owned(),
            problem,
            source: Some(error),
        }
    }
}

/// Listens on `address`, as `127.0.0.1:9876`, `[::1]:9876` or `localhost:9876`; port 0 takes a free
/// one.
///
/// # Errors
/// The text is no address, or the port cannot be had.
pub async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), BindError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| BindError::new(address, error))?;
    let bound = listener
        .local_addr()
        .map_err(|error| BindError::new(address, error))?;
    Ok((listener, bound))
}

/// Tells whether this machine has an address, whoever listens on its port now.
///
/// # Errors
/// It has not.
pub fn check_address(address: SocketAddr) -> Result<(), BindError> {
    match std::net::TcpListener::bind((address.ip(), 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(BindError::new(&address.to_string(), error))
        }
        // What else there is to say, the start says.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_said_to_be() {
        let (_listener, address) = bind("127.0.0.1:0").await.unwrap();
        let error = bind(&address.to_string()).await.unwrap_err();
        assert!(error.to_string().contains("is in use"), "{error}");
        assert!(bind("nonsense").await.is_err());
        assert!(check_address(address).is_ok(), "somebody has it now");
        let elsewhere = check_address("192.0.2.1:80".parse().unwrap()).unwrap_err();
        assert!(
            elsewhere.to_string().contains("no such address"),
            "{elsewhere}"
        );
    }
}
