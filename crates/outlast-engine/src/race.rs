//! Races: which of several waits ended first, recorded once.
//!
//! A handler that is run again would find the slots of a race filled that were not filled when it was
//! run first, and could go another way. So the winner is recorded, and a later run waits for the winner
//! alone.

use std::sync::Arc;
use std::task::Poll;

use outlast_core::{JournalKind, RawJson, Recorded};

use crate::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::run::Run;
use crate::step;

/// A race that has not begun; add branches and await it. Made by [`crate::Cx::race`].
#[must_use = "a race does nothing unless it is awaited"]
pub struct Race<'a, T> {
    run: &'a Arc<Run>,
    name: String,
    branches: Vec<BoxFuture<'a, Result<T>>>,
}

impl<'a, T> Race<'a, T> {
    pub(crate) fn new(run: &'a Arc<Run>, name: String) -> Self {
        Self {
            run,
            name,
            branches: Vec::new(),
        }
    }

    /// Adds a branch. Of branches that end at the same time the one that was added first wins.
    pub fn branch(mut self, branch: impl Future<Output = Result<T>> + Send + 'a) -> Self {
        self.branches.push(Box::pin(branch));
        self
    }
}

impl<'a, T: Send + 'a> IntoFuture for Race<'a, T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'a, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(race(self))
    }
}

async fn race<T>(race: Race<'_, T>) -> Result<T> {
    step::outside_step("race")?;
    let Race {
        run,
        name,
        mut branches,
    } = race;
    if let Some(entry) = run.take_name(JournalKind::Race, &name)? {
        let winner: usize = step::recorded_value(&name, &entry)?;
        if winner >= branches.len() {
            return Err(Error::new(ErrorKind::Journal(format!(
                "branch {winner} won the race {name:?}, and now there are {}: the code has changed \
                 under the task",
                branches.len()
            ))));
        }
        return branches.swap_remove(winner).await;
    }
    if branches.is_empty() {
        return Err(Error::tool(format!("the race {name:?} has no branches")));
    }
    let (winner, ended) = std::future::poll_fn(|cx| {
        for (index, branch) in branches.iter_mut().enumerate() {
            if let Poll::Ready(ended) = branch.as_mut().poll(cx) {
                return Poll::Ready((index, ended));
            }
        }
        Poll::Pending
    })
    .await;
    drop(branches);
    let passing = ended.as_ref().is_err_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::Cancelled | ErrorKind::LeaseLost | ErrorKind::Store(_)
        )
    });
    if run.is_storable() && !passing {
        let recorded = Recorded::Value(RawJson::of(&winner).map_err(Error::from)?);
        step::record(run, JournalKind::Race, &name, None, recorded).await?;
    }
    ended
}
