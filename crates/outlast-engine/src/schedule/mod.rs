//! Schedules: what the handle says to them, and how the heart fires them.
//!
//! Every change reads the record, applies a verb of the pure machine and writes the result back if the
//! version is still the one that was read; who comes second reads again. Firing is such a change that
//! carries a task with it, so it needs no leader and no lock: each process fires what is due and finds
//! out whether it was first.

mod fire;
mod view;

use std::sync::Arc;

use outlast_core::schedule::Overlap;
use outlast_core::store::SchedulePut;
use outlast_core::{Error, NewSchedule, Schedule, Task, TaskId, TaskSpec, Timestamp, schedule};

use crate::handle::{Handle, NewCall};
use crate::lifecycle;
use crate::order::check_priority;
use crate::shared::Shared;
use crate::tool::{TaskSupport, Tool, Tools};

pub(crate) use fire::fire_due;
pub use view::view;

/// The schedules of a store, for all its servers and owners alike. Made by [`Handle::schedules`].
#[derive(Clone)]
pub struct Schedules {
    shared: Arc<Shared>,
}

impl Handle {
    /// The schedules.
    pub fn schedules(&self) -> Schedules {
        Schedules {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Schedules {
    /// All of them, in the order of their names.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<Schedule>, Error> {
        self.shared.store.schedules().await
    }

    /// The schedule of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none; or the store failed.
    pub async fn get(&self, name: &str) -> Result<Schedule, Error> {
        let found = self.shared.store.schedule_get(name).await?;
        found.ok_or_else(|| unknown(name))
    }

    /// Makes a schedule, or changes the one of this name, which keeps its history. It lives in the store
    /// until it is removed; the server that declares a schedule says so anew at each start instead.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot hold: its times, its name, a tool that is not there or never runs
    /// as a task, arguments that the tool refuses or that are secret; or if the server itself declares a
    /// schedule of this name. Nothing is stored then. Or the store failed.
    pub async fn put(&self, spec: NewSchedule) -> Result<Schedule, Error> {
        check(&spec, &self.shared.tools())?;
        let spec = NewSchedule {
            declared: false,
            ..spec
        };
        loop {
            let there = self.shared.store.schedule_get(&spec.name).await?;
            if there.as_ref().is_some_and(|there| there.spec.declared) {
                return Err(declared(&spec.name, "change it there"));
            }
            if let Some(put) = put(&self.shared, there, spec.clone()).await? {
                return Ok(put);
            }
        }
    }

    /// Stops a schedule until [`Schedules::resume`], over restarts too. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`Schedules::get`].
    pub async fn pause(&self, name: &str) -> Result<Schedule, Error> {
        self.set_paused(name, true).await
    }

    /// Lets a schedule go on from now; it makes up for nothing. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`Schedules::get`].
    pub async fn resume(&self, name: &str) -> Result<Schedule, Error> {
        self.set_paused(name, false).await
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<Schedule, Error> {
        loop {
            let found = self.get(name).await?;
            let mut after = found.clone();
            if !after.pause(paused, self.now()) {
                return Ok(found);
            }
            if let Some(put) = replace(&self.shared, &found, after, None).await? {
                return Ok(put.0);
            }
        }
    }

    /// Creates a task of a schedule now, beside its fire times; also of one that is paused. Under
    /// [`Overlap::Queue`] it comes after those that are unfinished.
    ///
    /// # Errors
    /// As [`Schedules::get`]; [`Error::Invalid`] if the tool is not there or refuses the arguments now;
    /// and as [`Handle::create`].
    pub async fn run(&self, name: &str) -> Result<Arc<Task>, Error> {
        loop {
            let found = self.get(name).await?;
            let tools = self.shared.tools();
            let tool = check(&found.spec, &tools)?;
            let open = still_open(&self.shared, &found).await?;
            let spec = spec_of(&self.shared, &found, tool, None, &open);
            let mut after = found.clone();
            after.ran(spec.id, open, self.now());
            let put = replace(&self.shared, &found, after, Some(spec)).await?;
            if let Some((_, Some(task))) = put {
                return Ok(task);
            }
        }
    }

    /// Removes a schedule, also one that cannot be read; its tasks stay.
    ///
    /// # Errors
    /// As [`Schedules::get`]; [`Error::Invalid`] if the server itself declares it.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        match self.get(name).await {
            Ok(found) if found.spec.declared => {
                return Err(declared(name, "remove it there, or pause it"));
            }
            Err(error) if !is_unreadable(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.shared.store.schedule_delete(name).await?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.shared.store.clock().now()
    }
}

/// Brings the store to what the server declares: makes and changes those that it names, removes those
/// that it named once and no longer does. Which of them are for this process to change: [`crate::role`].
pub(crate) async fn declare(shared: &Shared, specs: &[NewSchedule]) -> Result<(), Error> {
    if !shared.role.declares() {
        return Ok(());
    }
    shared.note_declared(specs);
    make(shared, specs).await?;
    // In this order: whoever declared one of these has been on the store since before it did.
    let there = shared.store.schedules().await?;
    let (alone, tools) = (shared.is_alone().await?, shared.tools());
    for there in there {
        let named = specs.iter().any(|spec| spec.name == there.spec.name);
        let ours = alone || tools.get(&there.spec.tool).is_some();
        if there.spec.declared && !named && ours {
            shared.store.schedule_delete(&there.spec.name).await?;
            tracing::info!(
                schedule = there.spec.name,
                "removed: it is declared no longer"
            );
        }
    }
    Ok(())
}

/// Makes again what this process has declared, in a store that has lost it.
pub(crate) async fn declare_again(shared: &Shared) -> Result<(), Error> {
    if !shared.role.declares() {
        return Ok(());
    }
    make(shared, &shared.declared_schedules()).await
}

/// Makes and changes those that are named.
async fn make(shared: &Shared, specs: &[NewSchedule]) -> Result<(), Error> {
    let alone = shared.is_alone().await?;
    for spec in specs {
        loop {
            let there = match shared.store.schedule_get(&spec.name).await {
                Err(error) if is_unreadable(&error) => {
                    tracing::error!(%error, "a schedule of this server is left as it is");
                    break;
                }
                there => there?,
            };
            let before = there.as_ref().map(|there| there.state.version);
            let Some(after) = put(shared, there, spec.clone()).await? else {
                continue;
            };
            if !alone && before.is_some_and(|before| before != after.state.version) {
                tracing::warn!(
                    schedule = spec.name,
                    "replaced a schedule that another server on this store may have declared: the one \
                     that starts last decides; give them the same schedule, or another name"
                );
            }
            break;
        }
    }
    Ok(())
}

impl Shared {
    fn note_declared(&self, specs: &[NewSchedule]) {
        let mut declared = self.schedules.write();
        let declared = declared.as_deref_mut();
        *declared.expect("nothing panics under this lock") = specs.to_vec();
    }

    /// The schedules that this process has declared.
    pub(crate) fn declared_schedules(&self) -> Vec<NewSchedule> {
        let declared = self.schedules.read();
        declared.expect("nothing panics under this lock").clone()
    }

    /// Whether this process itself has declared a schedule as it stands in the store.
    fn declares(&self, spec: &NewSchedule) -> bool {
        let declared = self.schedules.read();
        declared
            .expect("nothing panics under this lock")
            .contains(spec)
    }
}

/// What a server declares, checked before anything is stored.
///
/// # Errors
/// [`Error::Invalid`] if one cannot hold, or two have one name.
pub(crate) fn declared_by_server(
    specs: Vec<NewSchedule>,
    tools: &Tools,
) -> Result<Vec<NewSchedule>, Error> {
    let mut names = std::collections::BTreeSet::new();
    for spec in &specs {
        check(spec, tools)?;
        if !names.insert(spec.name.clone()) {
            return Err(Error::Invalid(format!(
                "two schedules are named {:?}; names must differ",
                spec.name
            )));
        }
    }
    let declared = specs.into_iter().map(|spec| NewSchedule {
        declared: true,
        ..spec
    });
    Ok(declared.collect())
}

/// Makes a schedule, or changes the one that is there. `None` if somebody was faster.
async fn put(
    shared: &Shared,
    there: Option<Schedule>,
    spec: NewSchedule,
) -> Result<Option<Schedule>, Error> {
    let now = shared.store.clock().now();
    let (expected, after) = match there {
        None => (None, Schedule::create(spec, now)),
        Some(there) => {
            let mut after = there.clone();
            if !after.update(spec, now) {
                return Ok(Some(there));
            }
            (Some(there.state.version), after)
        }
    };
    let written = shared.store.schedule_put(expected, after, None).await?;
    Ok(match written {
        SchedulePut::Done { schedule, .. } => Some(schedule),
        SchedulePut::Stale(_) => None,
    })
}

/// Writes `after` in the place of `found`. `None` if somebody was faster.
async fn replace(
    shared: &Shared,
    found: &Schedule,
    after: Schedule,
    task: Option<TaskSpec>,
) -> Result<Option<(Schedule, Option<Arc<Task>>)>, Error> {
    let expected = Some(found.state.version);
    let written = shared.store.schedule_put(expected, after, task).await?;
    Ok(match written {
        SchedulePut::Done { schedule, created } => {
            let task = created.map(|created| created.task);
            task.iter().for_each(|task| lifecycle::created(task));
            Some((schedule, task))
        }
        SchedulePut::Stale(_) => None,
    })
}

/// Whether a schedule can hold with these tools; returns its own.
fn check<'t>(spec: &NewSchedule, tools: &'t Tools) -> Result<&'t Arc<Tool>, Error> {
    let wrong =
        |sentence: String| Error::Invalid(format!("the schedule {:?}: {sentence}", spec.name));
    spec.check().map_err(wrong)?;
    let Some(tool) = tools.get(&spec.tool) else {
        let known: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        return Err(wrong(format!(
            "there is no tool {:?}; the tools are {}",
            spec.tool,
            known.join(", ")
        )));
    };
    if tool.task == TaskSupport::Forbidden {
        return Err(wrong(format!(
            "the tool {:?} never runs as a task; say task = \"optional\" or \"required\" for it",
            spec.tool
        )));
    }
    if let Some(priority) = spec.priority {
        check_priority(priority).map_err(wrong)?;
    }
    spec.check_labels(&tool.labels).map_err(wrong)?;
    tool.handler
        .check(&spec.arguments)
        .map_err(|refused| wrong(format!("the tool {:?} refuses: {refused}", spec.tool)))?;
    let secrets = tools.secrets_of(&spec.tool);
    let secrets = secrets.map(|fields| fields.take(&mut spec.arguments.to_value(), ""));
    if let Some((pointer, _)) = secrets.into_iter().flatten().next() {
        return Err(wrong(format!(
            "the argument {pointer} of the tool {:?} is secret, and a schedule keeps its arguments as \
             they are: let the tool read it from its environment instead",
            spec.tool
        )));
    }
    Ok(tool)
}

/// Those of a schedule's tasks that are in the way of another: they have not ended. No task can come after
/// one of another owner, so where tasks queue, those of an owner that the schedule had before do not count.
async fn still_open(shared: &Shared, schedule: &Schedule) -> Result<Vec<TaskId>, Error> {
    let mut open = Vec::new();
    for id in &schedule.state.open {
        let task = shared.store.get(*id).await?;
        let queues = schedule.spec.overlap == Overlap::Queue;
        let counts = |task: &Task| !queues || task.spec.owner == schedule.spec.owner;
        if task.is_some_and(|task| !task.is_finished() && counts(&task)) {
            open.push(*id);
        }
    }
    Ok(open)
}

/// The task of a schedule, for a fire time or by hand.
fn spec_of(
    shared: &Shared,
    schedule: &Schedule,
    tool: &Arc<Tool>,
    fire_at: Option<Timestamp>,
    open: &[TaskId],
) -> TaskSpec {
    let NewSchedule {
        name,
        arguments,
        owner,
        priority,
        labels,
        overlap,
        ..
    } = &schedule.spec;
    let mut call = NewCall::new(Arc::clone(tool), arguments.clone(), owner.clone());
    call.priority = priority.unwrap_or(call.priority);
    call.labels.clone_from(labels);
    call.labels.insert(schedule::LABEL.into(), name.clone());
    if let Some(fire_at) = fire_at {
        let labelled = (schedule::LABEL_FOR.into(), fire_at.to_string());
        call.labels.extend([labelled]);
        // The version of the record is what keeps a fire time from being fired twice. This holds even
        // where the record itself was lost and made anew.
        call.key = Some(format!("schedule {name} at {fire_at}"));
    }
    if *overlap == Overlap::Queue {
        call.after = open
            .iter()
            .map(|id| outlast_core::machine::Dependency::any_end(*id))
            .collect();
    }
    let mut spec = call.into_spec(shared);
    if let Some(idempotency) = &mut spec.idempotency {
        // No task is to be kept longer for it.
        idempotency.window = idempotency.window.min(spec.retention);
    }
    spec
}

/// Whether the store has a record that it cannot read, which keeps nothing else from going on.
fn is_unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::Store {
            retryable: false,
            ..
        }
    )
}

fn unknown(name: &str) -> Error {
    Error::Invalid(format!("there is no schedule {name:?}"))
}

fn declared(name: &str, instead: &str) -> Error {
    Error::Invalid(format!(
        "the schedule {name:?} is declared by the server itself, in its configuration or its code: \
         {instead}"
    ))
}
