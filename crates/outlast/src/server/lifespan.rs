//! What lives as long as a server runs: made before the first handler is called, taken down after the
//! last one.
//!
//! What a start returns is state like any other, so handlers take it as [`State`](crate::State) and need
//! not know how it came. Starts run one after the other in the order in which they were given, those of
//! mounted servers last; stops run in the opposite order. A start that fails takes down what was started
//! before it, and the server does not start. A process that is killed runs no stop, like anything else.

use std::any::TypeId;
use std::sync::Arc;

use outlast_engine::{BoxFuture, StateMap};

use super::Server;
use crate::{Result, StartError};

/// How a value is made and taken down.
#[derive(Clone)]
pub(super) struct Lifespan {
    pub(super) type_id: TypeId,
    type_name: &'static str,
    start: Arc<dyn Fn() -> BoxFuture<'static, Result<Started>> + Send + Sync>,
}

/// A value that was made.
struct Started {
    put: Box<dyn FnOnce(&mut StateMap) + Send>,
    stop: Stop,
}

/// Takes one value down.
type Stop = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send + Sync>;

/// What is to be done when the server has ended.
#[derive(Default)]
pub(crate) struct Stops(Vec<Stop>);

impl Stops {
    /// Takes down what was started, the latest first.
    pub(crate) async fn run(self) {
        for stop in self.0.into_iter().rev() {
            stop().await;
        }
    }
}

impl Lifespan {
    pub(super) fn new<T, S, Made, E, Gone>(start: S, stop: E) -> Self
    where
        T: Send + Sync + 'static,
        S: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = Result<T>> + Send + 'static,
        E: Fn(Arc<T>) -> Gone + Send + Sync + 'static,
        Gone: Future<Output = ()> + Send + 'static,
    {
        let stop = Arc::new(stop);
        let start = move || -> BoxFuture<'static, Result<Started>> {
            let (made, stop) = (start(), Arc::clone(&stop));
            Box::pin(async move {
                let value = Arc::new(made.await?);
                let shared = Arc::clone(&value);
                Ok(Started {
                    put: Box::new(move |state| state.insert_shared(shared)),
                    stop: Box::new(move || Box::pin(stop(value))),
                })
            })
        };
        Self {
            type_id: TypeId::of::<T>(),
            type_name: std::any::type_name::<T>(),
            start: Arc::new(start),
        }
    }
}

impl Server {
    /// This server with the values of its lifespans, and of those of mounted ones, in their states. What
    /// was started is in `stops` also if another start fails.
    pub(crate) async fn begin(&self, stops: &mut Stops) -> Result<Self, StartError> {
        let mut begun = self.clone();
        begun.start_lifespans(stops).await?;
        Ok(begun)
    }

    /// Whether this very server has some.
    pub(super) fn has_lifespans(&self) -> bool {
        !self.lifespans.is_empty()
    }

    fn start_lifespans<'a>(
        &'a mut self,
        stops: &'a mut Stops,
    ) -> BoxFuture<'a, Result<(), StartError>> {
        Box::pin(async move {
            for lifespan in &self.lifespans {
                let started = (lifespan.start)().await.map_err(|error| {
                    StartError::new(format!(
                        "the lifespan of {} did not start: {error}",
                        lifespan.type_name
                    ))
                })?;
                (started.put)(&mut self.state);
                stops.0.push(started.stop);
            }
            for mount in &mut self.mounts {
                mount.server.start_lifespans(stops).await?;
            }
            Ok(())
        })
    }
}
