//! Whether somebody who was let in would still be: streams and sockets outlive the request that opened
//! them, and must not outlive the token that let it in.
//!
//! The head of that request is shown to the gate again from time to time, with what was known of its
//! sender. A way that cannot tell at the moment ends nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use outlast_core::Principal;

use super::{Credentials, Denied, Gate};

/// How often it is asked.
const AGAIN: Duration = Duration::from_secs(20);

/// Whoever was let in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standing(Arc<LetIn>);

struct LetIn {
    gate: Gate,
    head: Parts,
    peer: Option<IpAddr>,
    who: Principal,
}

impl Standing {
    /// Of `who`, whom `gate` has let in for this head.
    pub(super) fn new(gate: &Gate, head: &Parts, peer: Option<IpAddr>, who: &Principal) -> Self {
        let mut own = Request::new(());
        *own.method_mut() = head.method.clone();
        *own.uri_mut() = head.uri.clone();
        *own.headers_mut() = head.headers.clone();
        Self(Arc::new(LetIn {
            gate: gate.clone(),
            head: own.into_parts().0,
            peer,
            who: who.clone(),
        }))
    }

    /// Whether the same request would be let in now as the same principal.
    ///
    /// # Cancel safety
    /// As [`super::Authenticator`].
    pub(crate) async fn holds(&self) -> bool {
        let LetIn {
            gate,
            head,
            peer,
            who,
        } = &*self.0;
        let (authenticator, failures) = gate.ways();
        let credentials = Credentials::new(head, *peer, failures);
        match authenticator.authenticate(credentials).await {
            Ok(now) => now == *who,
            Err(Denied::TooMany(_) | Denied::Unavailable { .. }) => true,
            Err(_) => false,
        }
    }

    /// Resolves within 20 s after it has ceased to hold.
    pub(crate) async fn lost(self) {
        loop {
            tokio::time::sleep(AGAIN).await;
            if !self.holds().await {
                return;
            }
        }
    }
}

/// Resolves as [`Standing::lost`]; never, where nobody had to be let in.
pub(crate) async fn lost(standing: Option<Standing>) {
    match standing {
        Some(standing) => standing.lost().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures_util::FutureExt as _;
    use outlast_core::Owner;

    use super::super::{Authenticator, GateOptions};
    use super::*;

    /// Gives one answer until it is given another.
    struct Says(Mutex<Result<Principal, Denied>>);

    #[async_trait]
    impl Authenticator for Arc<Says> {
        async fn authenticate(&self, _: Credentials<'_>) -> Result<Principal, Denied> {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_as_long_as_the_token() {
        let alice = Principal::new(Owner::new("alice"));
        let says = Arc::new(Says(Mutex::new(Ok(alice.clone()))));
        let gate = Gate::new(Arc::new(Arc::clone(&says)), GateOptions::default());
        let (head, ()) = Request::new(()).into_parts();
        let standing = Standing::new(&gate, &head, None, &alice);
        let mut lost = Box::pin(standing.lost());
        let mut after = async |answer| {
            *says.0.lock().unwrap() = answer;
            tokio::time::sleep(AGAIN * 2).await;
            lost.as_mut().now_or_never()
        };
        assert_eq!(after(Ok(alice.clone())).await, None);
        // Whoever cannot tell at the moment ends nothing.
        assert_eq!(after(Err(Denied::unavailable("down"))).await, None);
        assert_eq!(after(Err(Denied::TooMany(AGAIN))).await, None);
        let revoked = Err(Denied::Invalid("the token was revoked".into()));
        assert_eq!(after(revoked).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_becomes_somebody_elses_ends_it() {
        let alice = Principal::new(Owner::new("alice"));
        let bob = Principal::new(Owner::new("bob"));
        let says = Arc::new(Says(Mutex::new(Ok(bob))));
        let gate = Gate::new(Arc::new(says), GateOptions::default());
        let (head, ()) = Request::new(()).into_parts();
        assert!(!Standing::new(&gate, &head, None, &alice).holds().await);
    }
}
