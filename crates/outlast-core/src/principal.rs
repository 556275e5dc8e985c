//! Who asks: an owner, the groups it is in, and what it may do.
//!
//! A surface makes a [`Principal`] of whatever it has checked (a token, the peer's user id, nothing at
//! all on a server without users) and everything behind it asks this value alone. Scopes are a
//! ladder, so that a token for running need not list reading too (2026-07-28 authorization, "Scope
//! Challenge Handling": scope hierarchies are honoured); a principal therefore has the highest one.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::Owner;

/// What a principal may do. Each scope includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// See tools, and its own tasks with their results and logs.
    #[serde(rename = "tasks:read")]
    Read,
    /// Also call tools, and answer, cancel, delete and share its own tasks.
    #[serde(rename = "tasks:run")]
    Run,
    /// Also do all of that to everybody's tasks.
    #[serde(rename = "tasks:admin")]
    Admin,
}

impl Scope {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Admin];

    /// The word in tokens and challenges.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "tasks:read",
            Self::Run => "tasks:run",
            Self::Admin => "tasks:admin",
        }
    }

    /// The highest scope in a list of words; words of others are ignored.
    pub fn highest<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        words.into_iter().filter_map(|word| word.parse().ok()).max()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no scope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no scope; allowed: tasks:read, tasks:run, tasks:admin")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// Who asks. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    owner: Owner,
    groups: Option<Arc<[String]>>,
    scope: Option<Scope>,
    authenticated: bool,
}

impl Principal {
    /// Whoever can reach a server without users. It may run, and is the same for everybody.
    pub fn local() -> Self {
        Self {
            owner: Owner::local(),
            groups: None,
            scope: Some(Scope::Run),
            authenticated: false,
        }
    }

    /// The user of the operating system who runs the server, seen by the kernel: [`Owner::local`] with
    /// every right.
    pub fn operator() -> Self {
        Self {
            scope: Some(Scope::Admin),
            authenticated: true,
            ..Self::local()
        }
    }

    /// Somebody whose identity was checked and who may do nothing yet.
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            groups: None,
            scope: None,
            authenticated: true,
        }
    }

    /// Puts it into groups.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = String>) -> Self {
        let groups: Arc<[String]> = groups.into_iter().collect();
        self.groups = Some(groups).filter(|groups| !groups.is_empty());
        self
    }

    /// Lets it do what `scope` allows; `None` allows nothing.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Option<Scope>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Whose tasks it has.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The groups it is in.
    pub fn groups(&self) -> &[String] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// What it may do.
    pub fn scope(&self) -> Option<Scope> {
        self.scope
    }

    /// Whether it may do what `scope` allows.
    pub fn may(&self, scope: Scope) -> bool {
        self.scope >= Some(scope)
    }

    /// Whether it can be told apart from other callers.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}

impl Deref for Principal {
    type Target = Owner;

    fn deref(&self) -> &Owner {
        &self.owner
    }
}

/// A connection that belongs to this owner and may run.
impl From<Owner> for Principal {
    fn from(owner: Owner) -> Self {
        Self::new(owner).with_scope(Scope::Run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_ladder() {
        let runner = Principal::new(Owner::new("a")).with_scope(Scope::Run);
        assert!(runner.may(Scope::Read) && runner.may(Scope::Run) && !runner.may(Scope::Admin));
        assert!(!Principal::new(Owner::new("a")).may(Scope::Read));
        assert_eq!(
            Scope::highest("openid tasks:run tasks:read".split(' ')),
            Some(Scope::Run)
        );
        assert_eq!(Scope::highest(["tasks:everything"]), None);
    }
}
