//! What a tool says about order and limits, and how a call becomes keys.
//!
//! Everything here ends in the two things a store knows: rules by name, and keys that a task carries.
//! The names are made from the tool's name, so that a server which no longer declares a limit can take
//! its rule back. The value of a key is computed from the call once, when the task is created.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::limit::{Control, Controls, Key, Keys, LimitKey, Rate, Rule};
use outlast_core::same::{IdempotencyKey, Same, Then};
use outlast_core::{Owner, RawJson};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The priorities that a tool or a call may have; 0 is the usual one.
pub const PRIORITIES: RangeInclusive<i16> = -100..=100;

/// The priority of a number.
///
/// # Errors
/// It is not in [`PRIORITIES`]; the sentence says so.
pub fn check_priority(priority: impl Into<i64>) -> Result<i16, String> {
    let number = priority.into();
    i16::try_from(number)
        .ok()
        .filter(|priority| PRIORITIES.contains(priority))
        .ok_or_else(|| {
            format!(
                "the priority {number} is out of range; allowed: {} to {}, larger runs earlier",
                PRIORITIES.start(),
                PRIORITIES.end()
            )
        })
}

/// How long an idempotency key is remembered where nothing is said.
pub const DEFAULT_KEY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What calls of a tool are told apart by.
#[derive(Clone)]
pub enum Per {
    /// Nothing: all calls of the tool are alike.
    Tool,
    /// Who calls.
    Owner,
    /// The value at a path of names in the arguments, separated by dots. Calls without one are alike.
    Argument(String),
    /// What a function makes of the arguments. The name tells several of them apart.
    Computed(String, Compute),
}

/// Computes a key's value from a call's arguments.
pub type Compute = Arc<dyn Fn(&RawJson) -> String + Send + Sync>;

impl fmt::Debug for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffix())
    }
}

impl Per {
    /// The value at a path of names in the arguments, separated by dots: `customer`, `customer.id`.
    /// Calls without one are alike.
    pub fn argument(path: impl Into<String>) -> Self {
        Self::Argument(path.into())
    }

    /// What `compute` makes of the arguments; `name` tells several such functions of a tool apart.
    pub fn computed(
        name: impl Into<String>,
        compute: impl Fn(&RawJson) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::Computed(name.into(), Arc::new(compute))
    }

    /// What the rule's name ends with.
    fn suffix(&self) -> String {
        match self {
            Self::Tool => String::new(),
            Self::Owner => "/owner".into(),
            Self::Argument(path) => format!("/argument {path}"),
            Self::Computed(name, _) => format!("/computed {name}"),
        }
    }

    fn value(&self, arguments: &RawJson, owner: &Owner) -> String {
        match self {
            Self::Tool => String::new(),
            Self::Owner => owner.as_str().to_owned(),
            Self::Argument(path) => at_path(arguments, path),
            Self::Computed(_, compute) => compute(arguments),
        }
    }
}

/// How many tasks of a tool run at a time.
#[derive(Clone, Debug)]
pub struct Limit {
    /// How many; at least 1.
    pub max: u32,
    /// Which calls count together.
    pub per: Per,
    /// Whether a suspended task counts. If it does not, one that wakes waits for room.
    pub while_suspended: bool,
}

/// Which calls of a tool mean the same work, and what becomes of a call while it is unfinished.
#[derive(Clone, Debug)]
pub struct Sameness {
    /// What must be equal; `None` is all of the arguments.
    pub per: Option<Per>,
    /// What happens.
    pub then: Then,
}

/// What a tool says about when its tasks run.
///
/// ```
/// use std::time::Duration;
/// use outlast_core::same::Then;
/// use outlast_engine::{Order, Per};
///
/// // At most three at a time, one a customer, sixty starts an hour, and never two of the same kind.
/// let order = Order::new()
///     .max_running(3)
///     .max_running_per(1, Per::argument("customer.id"))
///     .rate("60/h".parse()?)
///     .max_queued(100)
///     .same(Then::Join);
/// # let _ = order;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it means nothing until a tool has it"]
pub struct Order {
    /// The priority of its tasks where the call says nothing.
    pub priority: i16,
    /// How many run at a time.
    pub limits: Vec<Limit>,
    /// How often attempts start.
    pub rates: Vec<(Rate, Per)>,
    /// How many tasks may wait to be started.
    pub quotas: Vec<(u64, Per)>,
    /// Which calls mean the same.
    pub same: Option<Sameness>,
    /// How long an idempotency key is remembered; `None` is [`DEFAULT_KEY_WINDOW`].
    pub key_window: Option<Duration>,
}

impl Order {
    /// An order that says nothing: tasks run as soon as a worker has a slot, first in first out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the priority of its tasks where the call says nothing. Larger runs earlier; in [`PRIORITIES`].
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Lets at most `max` of its tasks run at a time. The rest wait in order.
    pub fn max_running(self, max: u32) -> Self {
        self.max_running_per(max, Per::Tool)
    }

    /// Lets at most `max` of its tasks run at a time for each customer, session, owner or whatever `per`
    /// tells apart. The rest wait in order and hold nobody else up.
    pub fn max_running_per(mut self, max: u32, per: Per) -> Self {
        self.limits.push(Limit {
            max,
            per,
            while_suspended: false,
        });
        self
    }

    /// Counts suspended tasks too, for every limit given before: a task that waits for an answer keeps
    /// others out. By default it lets them in, and waits for room when it wakes.
    pub fn hold_while_suspended(mut self) -> Self {
        for limit in &mut self.limits {
            limit.while_suspended = true;
        }
        self
    }

    /// Lets attempts start no faster than this. The rest wait in order; none fails.
    pub fn rate(self, rate: Rate) -> Self {
        self.rate_per(rate, Per::Tool)
    }

    /// [`Order::rate`] for each of whatever `per` tells apart.
    pub fn rate_per(mut self, rate: Rate, per: Per) -> Self {
        self.rates.push((rate, per));
        self
    }

    /// Refuses a call while `max` tasks wait to be started ([`outlast_core::Error::QueueFull`]).
    pub fn max_queued(self, max: u64) -> Self {
        self.max_queued_per(max, Per::Tool)
    }

    /// [`Order::max_queued`] for each of whatever `per` tells apart.
    pub fn max_queued_per(mut self, max: u64, per: Per) -> Self {
        self.quotas.push((max, per));
        self
    }

    /// Says what becomes of a call with the same arguments as an unfinished task of the same owner.
    pub fn same(mut self, then: Then) -> Self {
        self.same = Some(Sameness { per: None, then });
        self
    }

    /// [`Order::same`] for calls that are equal in what `per` tells apart, whatever the rest of their
    /// arguments.
    pub fn same_by(mut self, per: Per, then: Then) -> Self {
        self.same = Some(Sameness {
            per: Some(per),
            then,
        });
        self
    }

    /// Sets how long an idempotency key is remembered. Default 24 hours.
    pub fn key_window(mut self, window: Duration) -> Self {
        self.key_window = Some(window);
        self
    }

    /// Whether it says nothing that the store must see before a call may run.
    pub(crate) fn is_free(&self) -> bool {
        self.limits.is_empty()
            && self.rates.is_empty()
            && self.quotas.is_empty()
            && self.same.is_none()
    }

    /// What is wrong with it, in a sentence.
    ///
    /// # Errors
    /// A limit of 0, two limits that are told apart by the same, a path that names nothing, or a priority
    /// out of range.
    pub(crate) fn check(&self, tool: &str) -> Result<(), String> {
        check_priority(self.priority).map_err(|wrong| format!("the tool {tool:?}: {wrong}"))?;
        if self.limits.iter().any(|limit| limit.max == 0) {
            return Err(format!(
                "the tool {tool:?} lets 0 of its tasks run at a time, so none ever would: say at \
                 least 1, or pause the tool"
            ));
        }
        let mut names = self.names(tool);
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!(
                "the tool {tool:?} has two limits of the same kind ({}): say one",
                twice[0]
            ));
        }
        let pers = self.limits.iter().map(|limit| &limit.per);
        let pers = pers
            .chain(self.rates.iter().map(|(_, per)| per))
            .chain(self.quotas.iter().map(|(_, per)| per))
            .chain(self.same.iter().filter_map(|same| same.per.as_ref()));
        for per in pers {
            if let Per::Argument(path) = per
                && path.split('.').any(str::is_empty)
            {
                return Err(format!(
                    "the tool {tool:?} has a limit by the argument {path:?}, which names none: \
                     write its name, or a path like \"customer.id\""
                ));
            }
        }
        Ok(())
    }

    /// Refuses what several owners have in common where a store of `shards` shards divides them.
    ///
    /// # Errors
    /// A limit, a rate or a quota is not for each owner alone; the sentence says what to do.
    pub(crate) fn check_shards(&self, tool: &str, shards: usize) -> Result<(), String> {
        let limits = self.limits.iter().map(|limit| (RUNNING, &limit.per));
        let rates = self.rates.iter().map(|(_, per)| (RATE, per));
        let quotas = self.quotas.iter().map(|(_, per)| (QUEUED, per));
        let mut all = limits.chain(rates).chain(quotas);
        let over_owners = all.find(|(_, per)| !matches!(per, Per::Owner));
        let Some((kind, per)) = over_owners.filter(|_| shards > 1) else {
            return Ok(());
        };
        Err(format!(
            "the limit {:?} counts the tasks of several owners, and the store divides the owners among \
             {shards} shards, which cannot count together: limit each owner (`per = \"owner\"`), or use a \
             store of one shard",
            rule_name(tool, kind, per)
        ))
    }

    fn names(&self, tool: &str) -> Vec<String> {
        self.rules(tool).into_iter().map(|(name, _)| name).collect()
    }

    /// The rules of the tool, by name.
    pub(crate) fn rules(&self, tool: &str) -> Vec<(String, Rule)> {
        let limits = self.limits.iter().map(|limit| {
            let name = rule_name(tool, RUNNING, &limit.per);
            (name, Rule::Running(limit.max))
        });
        let rates = self
            .rates
            .iter()
            .map(|(rate, per)| (rule_name(tool, RATE, per), Rule::Rate(*rate)));
        let quotas = self
            .quotas
            .iter()
            .map(|(max, per)| (rule_name(tool, QUEUED, per), Rule::Queued(*max)));
        limits.chain(rates).chain(quotas).collect()
    }

    /// Whether it tells calls apart by what they give.
    pub(crate) fn reads_arguments(&self) -> bool {
        let limits = self.limits.iter().map(|limit| &limit.per);
        let rates = self.rates.iter().map(|(_, per)| per);
        let quotas = self.quotas.iter().map(|(_, per)| per);
        let mut pers = limits.chain(rates).chain(quotas);
        self.same.is_some() || pers.any(|per| matches!(per, Per::Argument(_)))
    }

    /// Adds the keys of a call.
    pub(crate) fn add_keys(&self, tool: &str, arguments: &RawJson, owner: &Owner, keys: &mut Keys) {
        let key =
            |kind, per: &Per| Key::new(rule_name(tool, kind, per), per.value(arguments, owner));
        keys.limits.extend(self.limits.iter().map(|limit| LimitKey {
            key: key(RUNNING, &limit.per),
            while_suspended: limit.while_suspended,
        }));
        keys.rates
            .extend(self.rates.iter().map(|(_, per)| key(RATE, per)));
        keys.quotas
            .extend(self.quotas.iter().map(|(_, per)| key(QUEUED, per)));
    }

    /// The key of the work that a call means.
    pub(crate) fn same_work(&self, arguments: &RawJson, owner: &Owner) -> Option<Same> {
        let same = self.same.as_ref()?;
        let key = match &same.per {
            Some(per) => per.value(arguments, owner),
            None => digest(arguments),
        };
        Some(Same {
            key,
            then: same.then,
        })
    }

    /// The idempotency key of a call.
    pub(crate) fn idempotency(&self, key: String, arguments: &RawJson) -> IdempotencyKey {
        IdempotencyKey {
            key,
            window: self.key_window.unwrap_or(DEFAULT_KEY_WINDOW),
            digest: digest(arguments),
        }
    }
}

const RUNNING: &str = "running";
const RATE: &str = "rate";
const QUEUED: &str = "queued";

/// What rules for all tools are named after; no tool has this name.
pub(crate) const ALL_TOOLS: &str = "*";

fn rule_name(tool: &str, kind: &str, per: &Per) -> String {
    format!("{tool}/{kind}{}", per.suffix())
}

/// The changes that bring a store's rules to what these tools declare. Rules of other tools are left
/// alone: another process may have them.
pub(crate) fn changes<'a>(
    there: &Controls,
    declared: impl Iterator<Item = (&'a str, &'a Order)>,
) -> Vec<Control> {
    let mut wanted = BTreeMap::new();
    let mut changes = Vec::new();
    for (tool, order) in declared {
        wanted.extend(order.rules(tool));
        let prefixes = [RUNNING, RATE, QUEUED].map(|kind| format!("{tool}/{kind}"));
        let own = |name: &&String| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let gone = there.rules.keys().filter(own);
        let gone = gone.filter(|name| !wanted.contains_key(*name));
        changes.extend(gone.map(|name| Control::Rule(name.clone(), None)));
    }
    let new = wanted
        .into_iter()
        .filter(|(name, rule)| there.rules.get(name) != Some(rule));
    changes.extend(new.map(|(name, rule)| Control::Rule(name, Some(rule))));
    changes
}

/// The text of the value at a path; empty if there is none.
fn at_path(arguments: &RawJson, path: &str) -> String {
    let mut value = &arguments.to_value();
    for name in path.split('.') {
        match value.get(name) {
            Some(inner) => value = inner,
            None => return String::new(),
        }
    }
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => canonical(other),
    }
}

/// A digest of a JSON value in which the order of members and white space do not count.
fn digest(value: &RawJson) -> String {
    let bytes = Sha256::digest(canonical(&value.to_value()));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<String> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        // Equal numbers are equal however they are written (JSON Schema 2020-12, section 4.2.1).
        Value::Number(number) if !number.is_i64() && !number.is_u64() => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() <= LARGEST_WHOLE => {
                // Without the sign of a negative zero.
                format!("{:.0}", whole + 0.0)
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Up to this a double holds every whole number.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text).expect("JSON")
    }

    #[test]
    fn values_come_from_paths() {
        let arguments = json(r#"{"a":{"b":"x","n":7,"o":{"z":1,"y":2}},"empty":null}"#);
        let at = |path: &str| at_path(&arguments, path);
        assert_eq!(at("a.b"), "x");
        assert_eq!(at("a.n"), "7");
        assert_eq!(at("a.o"), r#"{"y":2,"z":1}"#);
        assert_eq!(at("empty"), "");
        assert_eq!(at("a.b.c"), "");
    }

    #[test]
    fn the_order_of_members_does_not_count() {
        let ways = [
            r#"{"a":1,"b":[{"c":2,"d":3}]}"#,
            r#"{ "b":[{"d":3,"c":2}],"a":1 }"#,
        ];
        assert_eq!(digest(&json(ways[0])), digest(&json(ways[1])));
        assert_ne!(digest(&json("[1,2]")), digest(&json("[2,1]")));
        for same in ["[3.0,-0.0]", "[3e0,0.0]", "[30e-1,-0]"] {
            assert_eq!(digest(&json(same)), digest(&json("[3,0]")), "{same}");
        }
        for other in ["[3.5,0]", "[\"3\",0]", "[9007199254740993,0]"] {
            assert_ne!(digest(&json(other)), digest(&json("[3,0]")), "{other}");
        }
    }

    #[test]
    fn rules_that_are_declared_no_more_are_taken_back() {
        let limit = |max, per| Limit {
            max,
            per,
            while_suspended: false,
        };
        let order = Order {
            limits: vec![limit(2, Per::Tool), limit(1, Per::Argument("who".into()))],
            ..Order::default()
        };
        let mut controls = Controls::default();
        controls.apply(Control::Rule(
            "t/running/owner".into(),
            Some(Rule::Running(9)),
        ));
        controls.apply(Control::Rule("t/running".into(), Some(Rule::Running(2))));
        controls.apply(Control::Rule("tt/running".into(), Some(Rule::Running(9))));
        let changes = changes(&controls, [("t", &order)].into_iter());
        assert_eq!(
            changes,
            [
                Control::Rule("t/running/owner".into(), None),
                Control::Rule("t/running/argument who".into(), Some(Rule::Running(1))),
            ]
        );
        for (order, fits) in [
            (&order, false),
            (&Order::new().max_running_per(1, Per::Owner), true),
            (&Order::new().max_queued(1), false),
            (&Order::new().rate("1/s".parse().expect("a rate")), false),
        ] {
            assert_eq!(order.check_shards("t", 1), Ok(()));
            let checked = order.check_shards("t", 2);
            assert_eq!(checked.is_ok(), fits, "{checked:?}");
        }
        let zero = Order {
            limits: vec![limit(0, Per::Owner)],
            ..Order::default()
        };
        assert!(zero.check("t").is_err());
    }
}
