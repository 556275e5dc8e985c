//! The context: the one object a handler gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outlast_core::{
    Answer, InputRequest, JournalKind, Level, LogLine, Owner, RawJson, Recorded, TaskId, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocking::BlockingCx;
use crate::child::{FanOut, Spawn};
use crate::error::{Error, ErrorKind, Result, from_store};
use crate::progress::ProgressReporter;
use crate::race::Race;
use crate::run::Run;
use crate::secrets::Mask;
use crate::signal::Signals;
use crate::step::{self, Step};
use crate::wait::For;

/// What a handler can do besides its own work: report, log, record steps, ask, wait, notice that it
/// is cancelled. Cheap to clone.
///
/// The same in a task, in a synchronous call and in a test. A handler is run again from its top after
/// a crash and after each wait that took long; then recorded steps return at once, and progress and
/// log lines that were already told are swallowed. Code between steps runs again every time and must
/// have no effects.
#[derive(Clone)]
pub struct Cx {
    pub(crate) run: Arc<Run>,
}

impl Cx {
    /// The id of the task. A synchronous call that has not been written down has one too; it can be
    /// looked up once something was recorded.
    pub fn task_id(&self) -> TaskId {
        self.run.spec.id
    }

    /// Whether the call has a record by now: it survives this process. One that has none may get one
    /// at any time.
    pub fn is_stored(&self) -> bool {
        self.run.lease().is_some()
    }

    /// Counts from 1; more after a crash or an error that was retried. Suspending does not count.
    pub fn attempt(&self) -> u32 {
        self.run.attempt
    }

    /// Whom the task belongs to.
    pub fn owner(&self) -> &Owner {
        &self.run.spec.owner
    }

    /// The client's name, version and capabilities, as it declared them when it called.
    pub fn client(&self) -> Option<&RawJson> {
        self.run.spec.client.as_ref()
    }

    /// The call's `_meta`, as it came.
    pub fn request_meta(&self) -> Option<&RawJson> {
        self.run.spec.request_meta.as_ref()
    }

    /// The answer to a question that was asked before the task existed.
    pub fn first_answer(&self, key: &str) -> Option<&RawJson> {
        self.run.spec.first_answers.get(key)
    }

    /// The application's own state of type `T`, if the server was given one.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let own = self.run.namespace.as_ref().and_then(|own| own.state.get());
        own.or_else(|| self.run.shared.state.get())
    }

    /// Reports progress.
    pub fn progress(&self) -> ProgressReporter {
        ProgressReporter {
            run: Arc::clone(&self.run),
        }
    }

    /// Logs a line. Never fails and never waits; see [`Cx::write_log`] for output that must not be
    /// dropped.
    pub fn log(&self, level: Level, text: impl AsRef<str>) {
        self.log_as(level, "", text);
    }

    /// Logs a line in the name of `logger`.
    pub fn log_as(&self, level: Level, logger: &str, text: impl AsRef<str>) {
        self.run.sign_of_life();
        let Some(line) = self
            .run
            .log
            .push(level, logger, &self.run.mask().text(text.as_ref()))
        else {
            return;
        };
        if let Some(observer) = &self.run.observer {
            observer.log(&line);
        }
        self.run.poke.notify_one();
    }

    /// Ends the connection on which the caller waits, if the caller can come back for what follows: a
    /// session of 2025-11-25 over HTTP, which asks again after a second with the id of the last event
    /// (transports, "Resumability and Redelivery"; SEP-1699). Spares connections in a call that will be
    /// silent for long. Anybody else stays connected; the run itself never notices.
    pub fn close_stream(&self) {
        if let Some(observer) = &self.run.observer {
            observer.let_go();
        }
    }

    /// Logs at level debug.
    pub fn debug(&self, text: impl AsRef<str>) {
        self.log(Level::Debug, text);
    }

    /// Logs at level info.
    pub fn info(&self, text: impl AsRef<str>) {
        self.log(Level::Info, text);
    }

    /// Logs at level warning.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.log(Level::Warning, text);
    }

    /// Logs at level error.
    pub fn error(&self, text: impl AsRef<str>) {
        self.log(Level::Error, text);
    }

    /// Appends bytes to the log and waits until they are stored, so that a fast writer is slowed
    /// down instead of losing output. Returns once they are durable.
    ///
    /// # Errors
    /// The lease is lost, the store failed, or the run has no record.
    ///
    /// # Cancel safety
    /// A dropped call has stored all of the bytes or none.
    pub async fn write_log(&self, mut lines: Vec<LogLine>) -> Result<u64> {
        let mask = self.run.mask();
        if !mask.is_empty() {
            for line in &mut lines {
                line.text = mask.bytes(&line.text).into_owned();
            }
        }
        let lease = self.run.must_persist("write_log").await?;
        self.run.sign_of_life();
        if let Some(observer) = &self.run.observer {
            lines.iter().for_each(|line| observer.log(line));
        }
        let mark = lines.iter().rev().find_map(|line| line.mark);
        let (store, repeated) = (self.run.store(), AtomicBool::new(false));
        let written = self.run.insist(|| async {
            // The reply may be what got lost.
            if repeated.swap(true, Ordering::AcqRel) && mark.is_some() {
                let page = store.log_read(lease.task, u64::MAX, 0).await?;
                if page.mark >= mark {
                    return Ok(page.end);
                }
            }
            store.log_append(&lease, lines.clone()).await
        });
        written.await
    }

    /// The secrets among the arguments, for hiding them in what is told by other ways than this
    /// context, which hides them itself.
    pub fn mask(&self) -> Mask {
        self.run.mask().clone()
    }

    /// The last mark stored with this task's log: how far [`Cx::write_log`] got before a crash. `None` for
    /// a run that has no record yet.
    ///
    /// From the first call on the marks are the handler's: lines of [`Cx::log`] carry none, and one that
    /// was logged before a crash is logged again.
    ///
    /// # Errors
    /// The store failed.
    pub async fn log_mark(&self) -> Result<Option<u64>> {
        self.run.log.leave_marks();
        if !self.is_stored() {
            return Ok(None);
        }
        let page = self.run.store().log_read(self.task_id(), u64::MAX, 0).await;
        Ok(page.map_err(from_store)?.mark)
    }

    /// Resolves when the handler is to stop: the task is being cancelled, or this worker has lost it. A
    /// handler that has called this gets time to stop by itself when it is cancelled; one that has not is
    /// dropped at its next await, as every async one is whose task is lost.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.run.cancel_observed.store(true, Ordering::Release);
        tokio::select! {
            () = self.run.cancel.cancelled() => {}
            () = self.run.lost.cancelled() => {}
        }
    }

    /// Whether the handler is to stop: see [`Cx::cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.run.cancel_observed.store(true, Ordering::Release);
        self.run.cancel.is_cancelled() || self.is_lost()
    }

    /// Whether this worker has lost the task: it was paused beyond its lease, cut off from the store, the
    /// task was ended over its head, or the attempt is over because a time limit or a clean stop ended it.
    /// Another worker may be running it. Whatever this handler still records or returns changes nothing;
    /// only a handler that blocks its thread lives to see it.
    pub fn is_lost(&self) -> bool {
        self.run.lost.is_cancelled()
    }

    /// Does `work`, an `Fn() -> impl Future<Output = Result<T>> + Send`, once in the life of the task
    /// and records what it returned: the value, or the error. Retries, a time limit and a declared
    /// input can be set on the returned [`Step`] before it is awaited. A later run of the handler gets what was recorded and does not do the work.
    ///
    /// The work may still happen twice if the process dies between the work and the record; use
    /// [`Cx::key`] as an idempotency key where that matters. A name is used once in a run of the
    /// handler. Steps may run side by side.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn fetch(_: &str) -> Result<String> { Ok(String::new()) }
    /// # async fn handler(cx: Cx) -> Result<usize> {
    /// let mut bytes = 0;
    /// for url in ["https://a.example", "https://b.example"] {
    ///     let page: String = cx.step(format!("fetch {url}"), || fetch(url)).await?;
    ///     bytes += page.len();
    /// }
    /// # Ok(bytes) }
    /// ```
    ///
    /// # Errors
    /// What the work returned, now or when it was recorded; a name used twice; a call inside another
    /// step; a record that does not fit `T` any more; a lost lease; a store that failed.
    ///
    /// # Cancel safety
    /// A dropped step has recorded nothing, or all of it.
    pub fn step<F>(&self, name: impl Into<String>, work: F) -> Step<'_, F> {
        Step {
            run: &self.run,
            name: name.into(),
            work,
            retry: None,
            timeout: None,
            input: Ok(None),
        }
    }

    /// A text that is the same in every attempt of this step and differs from all others: an
    /// idempotency key for systems outside. Each undo ([`Cx::undo`]) has keys of its own, the same
    /// whenever it is tried.
    pub fn key(&self, step: &str) -> String {
        match &self.run.undoes {
            None => format!("{}/{step}", self.task_id()),
            Some(undo) => format!("{}/undo {undo}/{step}", self.task_id()),
        }
    }

    /// The time, drawn once under `name`: a later run of the handler sees the same moment.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn handler(cx: Cx) -> Result<String> {
    /// let begun = cx.now("begun").await?;
    /// let name = format!("report of {begun}");
    /// // One call in ten, and after a restart the same ones.
    /// if cx.random("sample").await? % 10 == 0 {
    ///     cx.step("audit", || async { Ok(()) }).await?;
    /// }
    /// # Ok(name) }
    /// ```
    ///
    /// # Errors
    /// As [`Cx::step`].
    pub async fn now(&self, name: &str) -> Result<Timestamp> {
        let clock = self.run.store().clock();
        self.value(name, move || clock.now()).await
    }

    /// A random number, drawn once under `name`.
    ///
    /// # Errors
    /// As [`Cx::step`].
    pub async fn random(&self, name: &str) -> Result<u64> {
        self.value(name, || {
            let id = TaskId::random();
            u64::from_le_bytes(
                *id.as_bytes()
                    .first_chunk()
                    .expect("an id has sixteen bytes"),
            )
        })
        .await
    }

    async fn value<T, F>(&self, name: &str, draw: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> T,
    {
        step::outside_step("a drawn value")?;
        if let Some(entry) = self.run.take_name(JournalKind::Value, name)? {
            return step::recorded_value(name, &entry);
        }
        let drawn = draw();
        let recorded = Recorded::Value(RawJson::of(&drawn).map_err(Error::from)?);
        let entry = step::record(&self.run, JournalKind::Value, name, None, recorded).await?;
        step::recorded_value(name, &entry)
    }

    /// Waits for `duration`, counted from the first time this wait is reached. A long wait gives up
    /// the worker; the task goes on at the right moment also after a restart.
    ///
    /// # Errors
    /// As [`Cx::step`].
    pub async fn sleep(&self, name: impl Into<String>, duration: Duration) -> Result<()> {
        let until = self.run.store().clock().now() + duration;
        self.sleep_until(name, until).await
    }

    /// Waits until `until`. The moment given the first time counts.
    ///
    /// # Errors
    /// As [`Cx::step`].
    pub async fn sleep_until(&self, name: impl Into<String>, until: Timestamp) -> Result<()> {
        step::outside_step("sleep")?;
        let name = name.into();
        let until = match self.run.take_name(JournalKind::Sleep, &name)? {
            Some(entry) => step::recorded_value(&name, &entry)?,
            None => {
                let recorded = Recorded::Value(RawJson::of(&until).map_err(Error::from)?);
                let entry =
                    step::record(&self.run, JournalKind::Sleep, &name, None, recorded).await?;
                step::recorded_value(&name, &entry)?
            }
        };
        let clock = self.run.store().clock();
        let _waiting = self.run.waits.register(For::Moment(until));
        self.run.poke.notify_one();
        loop {
            let filled = self.run.waits.filled.notified();
            self.stop_waiting_if_cancelled()?;
            if clock.now() >= until {
                return Ok(());
            }
            tokio::select! {
                () = filled => {}
                () = self.run.shared.until(until) => {}
            }
        }
    }

    /// Asks whoever is allowed to answer, and waits. `request` is an `elicitation/create`,
    /// `sampling/createMessage` or `roots/list` request; its key is unique for the life of the task.
    /// Returns the raw response, or that nobody answered in time.
    ///
    /// A call that is not a task asks its own caller.
    ///
    /// # Errors
    /// As [`Cx::step`]; and the call is not a task and its caller cannot be asked this.
    pub async fn ask_raw(&self, request: InputRequest) -> Result<Answer> {
        let mut answers = self.ask_all(vec![request]).await?;
        Ok(answers.pop().expect("one answer for one question"))
    }

    /// Asks several questions at once and waits for all answers, which come in the order of the
    /// questions.
    ///
    /// # Errors
    /// As [`Cx::ask_raw`].
    pub async fn ask_all(&self, requests: Vec<InputRequest>) -> Result<Vec<Answer>> {
        step::outside_step("ask")?;
        let mask = self.run.mask();
        let requests: Vec<_> = requests
            .into_iter()
            .map(|request| mask.question(request))
            .collect();
        let keys: Vec<String> = requests.iter().map(|request| request.key.clone()).collect();
        for key in &keys {
            self.run.take_name(JournalKind::Ask, key)?;
        }
        let waits = &self.run.waits;
        let is_open = |key: &str| self.run.answer_to(key).is_none();
        let mut waiting: Vec<_> = if self.leaves_asking_to_driver() {
            let open = requests.into_iter();
            let open = open.filter(|request| is_open(&request.key));
            let waiting = open
                .map(|request| (request.key.clone(), waits.register_unasked(request)))
                .collect();
            self.run.poke.notify_one();
            waiting
        } else {
            self.put(requests).await?;
            let open = keys.iter().filter(|key| is_open(key));
            let waiting = open
                .map(|key| (key.clone(), waits.register(For::Answer(key.clone()))))
                .collect();
            // An answer may have come since the questions were put, when nothing waited for it yet.
            match self.run.lease() {
                Some(_) => self.run.look_again(),
                None => self.run.poke.notify_one(),
            }
            waiting
        };
        loop {
            let filled = self.run.waits.filled.notified();
            self.stop_waiting_if_cancelled()?;
            // What is answered is waited for no more: else the store would see something that has happened
            // already, and never suspend a task that waits for the other answers.
            waiting.retain(|(key, _)| is_open(key));
            if waiting.is_empty() {
                let answers = keys.iter().map(|key| self.run.answer_to(key));
                return Ok(answers
                    .map(|answer| answer.expect("none is open"))
                    .collect());
            }
            filled.await;
        }
    }

    /// Says, once, that what the person was sent to a URL for (the question `key`) is done, so that the
    /// client can stop waiting for it (2025-11-25 elicitation, "Completion Notifications for URL Mode").
    /// Only the client that was asked is told, and only while it is connected to this process: a client
    /// must not depend on it. 2026-07-28 has no such message.
    ///
    /// # Errors
    /// As [`Cx::step`].
    pub async fn url_completed(&self, key: &str) -> Result<()> {
        let run = Arc::clone(&self.run);
        self.step(format!("url completed: {key}"), move || {
            match &run.observer {
                Some(observer) if !run.is_storable() => observer.url_completed(run.spec.id, key),
                // Nobody listening is no fault.
                _ => drop(run.shared.completed.send((run.spec.id, key.to_owned()))),
            }
            std::future::ready(Ok(()))
        })
        .await
    }

    /// Starts a task as a child of this one, once: a later run of the handler gets the child that is
    /// there. `arguments` serialise to an object; `()` is the empty one. The child belongs to the same
    /// owner and carries the same labels and priority; it is cancelled when this task ends or is
    /// cancelled, unless it is detached.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # use serde_json::json;
    /// # async fn handler(cx: Cx) -> Result<u64> {
    /// let left = cx.spawn("count_words", json!({"file": "a.txt"})).named("left").await?;
    /// let right = cx.spawn("count_words", json!({"file": "b.txt"})).named("right").await?;
    /// // Both run; this task waits, and gives up its worker if that takes long.
    /// let sum = left.join_as::<u64>().await? + right.join_as::<u64>().await?;
    /// // This one goes on when the task has ended.
    /// cx.spawn("publish", json!({"words": sum})).detach().await?;
    /// # Ok(sum) }
    /// ```
    ///
    /// # Errors
    /// There is no such tool; the arguments do not fit it; a name used twice; more than
    /// [`outlast_core::machine::MAX_CHILDREN`] children or [`outlast_core::machine::MAX_DEPTH`] levels.
    /// Else as [`Cx::step`].
    pub fn spawn(&self, tool: impl Into<String>, arguments: impl Serialize) -> Spawn<'_> {
        Spawn::new(&self.run, tool.into(), &arguments)
    }

    /// Starts a child of `tool` for each set of arguments, some at a time, and waits for all of them.
    /// Returns what each brought, in the order of the arguments: a child that failed does not stop the
    /// others.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # use serde_json::json;
    /// # async fn handler(cx: Cx, images: Vec<String>) -> Result<String> {
    /// let images = images.iter().map(|image| json!({"image": image}));
    /// let resized = cx.fan_out("resize", images).limit(8).await?;
    /// let failed = resized.iter().filter(|result| result.is_err()).count();
    /// # Ok(format!("{failed} failed")) }
    /// ```
    ///
    /// The arguments must come in the same order in every run of the handler.
    ///
    /// # Errors
    /// As [`Cx::spawn`], if a child could not be started.
    pub fn fan_out<'a, I>(&'a self, tool: impl Into<String>, arguments: I) -> FanOut<'a>
    where
        I: IntoIterator + 'a,
        I::IntoIter: Send,
        I::Item: Serialize,
    {
        FanOut::new(&self.run, tool.into(), arguments)
    }

    /// Waits for the first of several branches and records which one it was, so that a later run of
    /// the handler goes the same way. The other branches are dropped. (`select!` would choose anew in
    /// every run.)
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # use std::time::Duration;
    /// # async fn handler(cx: Cx) -> Result<String> {
    /// let mut words = cx.signals::<String>("guidance");
    /// let guidance = cx
    ///     .race("guidance or a minute")
    ///     .branch(async { words.next().await.map(Some) })
    ///     .branch(async { cx.sleep("patience", Duration::from_secs(60)).await.map(|()| None) })
    ///     .await?;
    /// # Ok(guidance.unwrap_or_default()) }
    /// ```
    ///
    /// # Errors
    /// What the first branch returned; a race without branches; else as [`Cx::step`].
    pub fn race<'a, T>(&'a self, name: impl Into<String>) -> Race<'a, T> {
        Race::new(&self.run, name.into())
    }

    /// The signals that were and will be sent to this task under `name`, from the first on: in every
    /// run of the handler the same ones in the same order. Make one reader for each name and keep it.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn write_chapter(_: u32, _: &str) -> Result<String> { Ok(String::new()) }
    /// # async fn handler(cx: Cx) -> Result<()> {
    /// let mut guidance = cx.signals::<String>("guidance");
    /// let mut style = String::from("plain");
    /// for chapter in 1..=12 {
    ///     // Whoever watches may change the course while the task runs.
    ///     while let Some(wish) = guidance.try_next().await? {
    ///         style = wish;
    ///     }
    ///     cx.step(format!("chapter {chapter}"), || write_chapter(chapter, &style)).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn signals<T: DeserializeOwned>(&self, name: impl Into<String>) -> Signals<T> {
        Signals::new(&self.run, name.into())
    }

    /// Whether questions are put to the store by the driver, together with the suspension. A task that
    /// may not be repeated must not be found running when all that it does is wait for an answer: it
    /// would be interrupted, and the question with it.
    fn leaves_asking_to_driver(&self) -> bool {
        let run = &self.run;
        !run.spec.repeatable
            && run.lease().is_some()
            && run.observer.is_none()
            && !run.waits.must_stay_hot()
    }

    /// Puts questions where they can be answered. One that was answered before is not asked again.
    async fn put(&self, requests: Vec<InputRequest>) -> Result<()> {
        let run = &self.run;
        let open = |requests: &[InputRequest]| -> Vec<InputRequest> {
            let open = |request: &&InputRequest| run.answer_to(&request.key).is_none();
            requests.iter().filter(open).cloned().collect()
        };
        let unanswered = open(&requests);
        if let (Some(observer), false) = (&run.observer, unanswered.is_empty()) {
            observer.may_ask(&unanswered, run.is_storable())?;
        }
        if run.is_storable() || run.observer.is_none() {
            let lease = run.must_persist("ask").await?;
            let store = run.store();
            let task = run.insist(|| store.ask(&lease, requests.clone())).await?;
            run.learn(&task);
        }
        if let Some(observer) = &run.observer {
            let unanswered = open(&requests);
            if !unanswered.is_empty() {
                observer.asked(&unanswered);
            }
        }
        Ok(())
    }

    /// A handler that is given time to stop by itself must not spend it waiting, and one that blocks its thread
    /// waits for nothing once its run is over.
    fn stop_waiting_if_cancelled(&self) -> Result<()> {
        if self.run.cancel.is_cancelled() {
            Err(self.cancelled_error())
        } else if self.run.lost.is_cancelled() {
            Err(Error::new(ErrorKind::LeaseLost))
        } else {
            Ok(())
        }
    }

    /// This context for code that blocks its thread.
    pub fn blocking(&self) -> BlockingCx {
        BlockingCx::new(self.clone())
    }

    /// The error of a handler that stops because the task is being cancelled.
    pub fn cancelled_error(&self) -> Error {
        Error::new(ErrorKind::Cancelled)
    }
}
