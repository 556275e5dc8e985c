//! Who may look at, and who may act on, a task that is somebody else's.
//!
//! A task belongs to its owner. The owner may share it with another owner or with a group, for reading
//! or also for acting; whoever has the scope of an administrator needs no such grant. To everybody
//! else the task does not exist, in the same words as one that never was (2025-11-25 tasks, "Task
//! Isolation and Access Control").
//!
//! A grant is a record of its own under (task, grantee): giving and taking one back is a single write,
//! so that two servers of one store cannot undo each other's. Nobody looks grants up for their own
//! tasks. A grant outlives its task by a while and then expires; an id is never used again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use outlast_core::task::MAX_RETENTION;
use outlast_core::undo::MAX_CLEANUP;
use outlast_core::{Error, Owner, Principal, Scope, Task, TaskId};

use crate::handle::Handle;

/// The store's space for grants.
const SPACE: &str = "grants";

/// What somebody may do with a task that was shared with them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Right {
    /// See it, its log and its result.
    Read,
    /// Also answer its questions and cancel it.
    Run,
}

impl Right {
    /// The word on the command line and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
        }
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "run" => Ok(Self::Run),
            _ => Err(format!("{text:?} is no right; allowed: read, run")),
        }
    }
}

/// With whom a task is shared: `NAME` of an owner, or `group:NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grantee(String);

const GROUP: &str = "group:";

impl Grantee {
    fn group(name: &str) -> Self {
        Self(format!("{GROUP}{name}"))
    }

    fn owner(owner: &Owner) -> Self {
        Self(format!("owner:{owner}"))
    }
}

impl FromStr for Grantee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix(GROUP).unwrap_or(text);
        if name.is_empty() || name.len() > 1024 {
            return Err(format!(
                "{text:?} is nobody; write the name of an owner, or group:NAME"
            ));
        }
        Ok(match text.strip_prefix(GROUP) {
            Some(group) => Self::group(group),
            None => Self::owner(&Owner::new(name)),
        })
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix("owner:").unwrap_or(&self.0))
    }
}

/// Who asks, as far as a task is concerned: made of an [`Owner`], or of a [`Principal`] with its groups
/// and rights.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    owner: &'a Owner,
    groups: &'a [String],
    /// May do everything to everybody's tasks.
    all: bool,
}

impl<'a> From<&'a Owner> for Asker<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self {
            owner,
            groups: &[],
            all: false,
        }
    }
}

impl<'a> From<&'a Principal> for Asker<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            owner: principal.owner(),
            groups: principal.groups(),
            all: principal.may(Scope::Admin),
        }
    }
}

impl<'a> Asker<'a> {
    pub(crate) fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// The asker, to be kept.
    pub(crate) fn kept(&self) -> Principal {
        let principal = Principal::new(self.owner.clone()).with_groups(self.groups.to_vec());
        principal.with_scope(self.all.then_some(Scope::Admin))
    }

    fn has(&self, task: &Task) -> bool {
        self.all || task.spec.owner == *self.owner
    }
}

impl Handle {
    /// The task, if `who` has this right to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist for `who`; [`Error::Invalid`] if `who` may only read it.
    pub(crate) async fn permitted(
        &self,
        who: Asker<'_>,
        id: TaskId,
        right: Right,
    ) -> Result<Arc<Task>, Error> {
        let task = self
            .shared
            .store
            .get(id)
            .await?
            .ok_or(Error::NotFound(id))?;
        match self.right(who, &task).await? {
            Some(granted) if granted >= right => Ok(task),
            Some(_) => Err(Error::Invalid(format!(
                "task {id} is shared with you for reading only; its owner can share it for \"run\""
            ))),
            None => Err(Error::NotFound(id)),
        }
    }

    /// What `who` may do with a task that was read; `None` if it does not exist for `who`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn right<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        task: &Task,
    ) -> Result<Option<Right>, Error> {
        let who = who.into();
        if who.has(task) {
            return Ok(Some(Right::Run));
        }
        self.granted(who, task.id()).await
    }

    async fn granted(&self, who: Asker<'_>, id: TaskId) -> Result<Option<Right>, Error> {
        let groups = who.groups.iter().map(|group| Grantee::group(group));
        let mut highest = None;
        for grantee in std::iter::once(Grantee::owner(who.owner)).chain(groups) {
            let key = key(id, &grantee);
            let record = self.shared.store.record_get(SPACE, &key).await?;
            let word = record.and_then(|word| String::from_utf8(word).ok());
            highest = highest.max(word.and_then(|word| word.parse().ok()));
        }
        Ok(highest)
    }

    /// Shares a task with somebody, or takes that back with `None`. The last word for one grantee
    /// counts.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the task is not `who`'s own; or the store failed.
    pub async fn share<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        with: &Grantee,
        right: Option<Right>,
    ) -> Result<(), Error> {
        let who = who.into();
        let task = self.permitted(who, id, Right::Read).await?;
        if !who.has(&task) {
            return Err(Error::Invalid(format!(
                "task {id} is shared with you; only its owner can share it further"
            )));
        }
        // The longest it can be read, also if it is put off to a later moment by then.
        let oldest = task.oldest().max(self.now() + task.spec.max_age);
        let until = oldest + MAX_CLEANUP + MAX_RETENTION;
        let right = right.map_or("", Right::as_str).as_bytes().to_vec();
        let store = &self.shared.store;
        store
            .record_put(SPACE, &key(id, with), right, Some(until))
            .await
    }
}

fn key(id: TaskId, grantee: &Grantee) -> String {
    format!("{id}/{}", grantee.0)
}
