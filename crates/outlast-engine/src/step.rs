//! Steps: work that is recorded once and not done again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outlast_core::{Failure, FailureReason, JournalEntry, JournalKind, RawJson, Recorded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::BoxFuture;
use crate::error::{Error, ErrorKind, RecordedError, Result};
use crate::retry::Retry;
use crate::run::Run;
use crate::trace;

tokio::task_local! {
    /// Set while a step's work is polled.
    static INSIDE_STEP: ();
}

/// Refuses `what` inside a step.
pub(crate) fn outside_step(what: &'static str) -> Result<()> {
    match INSIDE_STEP.try_with(|()| ()) {
        Ok(()) => Err(Error::new(ErrorKind::InsideStep(what))),
        Err(_) => Ok(()),
    }
}

/// Counts a step in flight, so that the engine does not suspend under it.
pub(crate) struct InFlight<'a>(&'a Run);

impl<'a> InFlight<'a> {
    pub(crate) fn begin(run: &'a Run) -> Self {
        run.steps_in_flight.fetch_add(1, Ordering::AcqRel);
        Self(run)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.steps_in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.poke.notify_one();
    }
}

/// A step that has not begun; await it. Made by [`crate::Cx::step`].
#[must_use = "a step does nothing unless it is awaited"]
pub struct Step<'a, F> {
    pub(crate) run: &'a Arc<Run>,
    pub(crate) name: String,
    pub(crate) work: F,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) input: Result<Option<u64>>,
}

impl<F> Step<'_, F> {
    /// Tries the work again after an error; only the last error is recorded. The waits hold the
    /// worker.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How long one try may take; then it is dropped and counts as an error with the reason
    /// `step_timeout`, which is retried like others and ends the task unless the handler handles it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Declares what the step works on. If a later run of the handler reaches this step with another
    /// input, the task fails instead of going on with a value that does not belong.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn invoice(rows: Vec<u32>) -> Result<u32> { Ok(rows.iter().sum()) }
    /// # async fn handler(cx: Cx, rows: Vec<u32>) -> Result<u32> {
    /// let sum = cx.step("invoice", || invoice(rows.clone())).input(&rows).await?;
    /// # Ok(sum) }
    /// ```
    pub fn input<I: Serialize + ?Sized>(mut self, input: &I) -> Self {
        let json = to_json(&self.name, input);
        self.input = json.map(|json| Some(fnv1a(json.as_str().as_bytes())));
        self
    }
}

impl<'a, T, F, Fut> IntoFuture for Step<'a, F>
where
    T: Serialize + DeserializeOwned + Send + 'a,
    F: Fn() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T>> + Send + 'a,
{
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'a, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(step(self))
    }
}

async fn step<T, F, Fut>(step: Step<'_, F>) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: Fn() -> Fut + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    let Step {
        run,
        name,
        work,
        retry,
        timeout,
        input,
    } = step;
    outside_step("step")?;
    let input = input?;
    if let Some(entry) = run.take_name(JournalKind::Step, &name)? {
        if entry.input_hash != input {
            return Err(Error::new(ErrorKind::Journal(format!(
                "step {name:?} was recorded with another input: the code has changed under the task"
            ))));
        }
        return recorded_value(&name, &entry);
    }
    let _in_flight = InFlight::begin(run);
    let begun = run.store().clock().now();
    let done = tries(run, &name, work, retry.as_ref(), timeout).await;
    let took = run.store().clock().now().since(begun);
    let recorded = match done {
        Ok(value) => {
            let json = to_json(&name, &value)?;
            // A value that nobody could read again is refused while nothing is recorded.
            json.to::<T>().map_err(|error| {
                Error::protocol(
                    -32603,
                    format!("the value of step {name:?} changes on its way through JSON: {error}"),
                )
            })?;
            Recorded::Value(json)
        }
        Err(error) => match error.to_recorded() {
            Some(recorded) => Recorded::Error(to_json(&name, &recorded)?),
            None => return Err(error),
        },
    };
    let kind = JournalKind::Step;
    let entry = record_timed(run, kind, &name, input, recorded, Some(took)).await?;
    recorded_value(&name, &entry)
}

/// Does the work until it succeeds or its tries are used up.
async fn tries<T, F, Fut>(
    run: &Run,
    name: &str,
    work: F,
    retry: Option<&Retry>,
    timeout: Option<Duration>,
) -> Result<T>
where
    F: Fn() -> Fut + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    let mut errors = 0;
    loop {
        let tried = INSIDE_STEP.scope((), work());
        let tried = tried.instrument(trace::step(name));
        let tried = match timeout {
            None => tried.await,
            Some(timeout) => {
                let end = run.store().clock().now() + timeout;
                tokio::select! {
                    biased;
                    tried = tried => tried,
                    () = run.shared.until(end) => Err(Error::failed(Failure::internal(
                        FailureReason::StepTimeout,
                        format!("step {name:?} took longer than {timeout:?}"),
                    ))),
                }
            }
        };
        let Err(error) = tried else { return tried };
        errors += 1;
        match error.wait_before_retry(retry, errors) {
            Some(wait) => run.shared.until(run.store().clock().now() + wait).await,
            None => return Err(error),
        }
    }
}

/// FNV-1a: the same in every build, which the standard library's hashers do not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Writes an entry; if another was there first, that one counts. A run without a record keeps it in
/// memory, to be carried on.
pub(crate) async fn record(
    run: &Arc<Run>,
    kind: JournalKind,
    name: &str,
    input: Option<u64>,
    recorded: Recorded,
) -> Result<JournalEntry> {
    record_timed(run, kind, name, input, recorded, None).await
}

async fn record_timed(
    run: &Arc<Run>,
    kind: JournalKind,
    name: &str,
    input: Option<u64>,
    recorded: Recorded,
    took: Option<Duration>,
) -> Result<JournalEntry> {
    if !run.is_storable() {
        let entry = JournalEntry {
            kind,
            name: name.to_owned(),
            input_hash: input,
            recorded,
            at: run.store().clock().now(),
            took,
        };
        run.remember(entry.clone());
        return Ok(entry);
    }
    let lease = run.must_persist(kind.as_str()).await?;
    let vault = &run.shared.vault;
    // Of an artifact the server has made the entry itself, and the store looks into it for the bytes: a digest in
    // which the digits of a secret happen to occur is not sealed.
    let recorded = match kind {
        JournalKind::Artifact => recorded,
        _ => vault.seal_recorded(run.spec.id, run.mask(), recorded),
    };
    let store = run.store();
    let put = || store.journal_put(&lease, kind, name, input, recorded.clone(), took);
    let entry = run.opened_entry(run.insist(put).await?);
    run.sign_of_life();
    run.remember(entry.clone());
    Ok(entry)
}

/// Reads a recorded value back.
pub(crate) fn recorded_value<T: DeserializeOwned>(name: &str, entry: &JournalEntry) -> Result<T> {
    match &entry.recorded {
        Recorded::Value(value) => value.to().map_err(|error| unreadable(name, &error)),
        Recorded::Error(error) => {
            let recorded: RecordedError = error.to().map_err(|error| unreadable(name, &error))?;
            Err(recorded.into())
        }
    }
}

fn unreadable(name: &str, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Journal(format!(
        "what was recorded as {name:?} does not fit the code any more: {error}"
    )))
}

fn to_json<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<RawJson> {
    RawJson::of(value).map_err(|error| {
        Error::protocol(
            -32603,
            format!("the value of step {name:?} has no JSON form: {error}"),
        )
    })
}
