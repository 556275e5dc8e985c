//! `GET /tasks`: the caller's tasks, the latest first, page by page.
//!
//! Status, outcome, phase, tool, owner, label and creation are found by indexes of the store. A text is searched
//! for in the tasks themselves, some thousands at a time: such a page may be short, even empty, and
//! still say where to search on.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use outlast_core::filter::Span;
use outlast_core::status::{Era, Phase};
use outlast_core::store::{Filter, Page};
use outlast_core::{Owner, Principal, Scope, Standing, TaskStatus, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Query, Reader, is_admin};
use super::links::Base;
use super::problem::Problem;
use super::task::{TaskOutcome, TaskView};

/// The most tasks on a page.
pub(super) const LARGEST_PAGE: usize = 500;

/// The longest text that is searched for.
const LONGEST_TEXT: usize = 200;

/// Everybody, as an owner.
const EVERYBODY: &str = "*";

/// Which tasks, and how many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only tasks with one of these statuses, separated by commas: `working`, `input_required`,
    /// `completed`, `failed`, `cancelled`.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>, example = "failed,cancelled")]
    status: Vec<TaskStatus>,
    /// Only tasks that have ended in one of these ways, separated by commas: `completed`, `error` (by the
    /// tool's own word: `completed` with `isError`), `failed`, `cancelled`. What people call failed is
    /// `error,failed`.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>, example = "error,failed")]
    outcome: Vec<TaskOutcome>,
    /// Only tasks in one of these phases, separated by commas: `scheduled`, `queued`, `blocked`,
    /// `running`, `suspended`, `finished`.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>, example = "queued")]
    phase: Vec<Phase>,
    /// Only tasks of this tool.
    #[serde(default)]
    tool: Option<String>,
    /// For administrators: this owner's tasks instead of the caller's own, or everybody's: `*`.
    #[serde(default)]
    owner: Option<String>,
    /// Only tasks with these labels: `KEY=VALUE`, several separated by commas. A comma or a backslash that
    /// belongs to a label stands after a backslash.
    #[serde(default, deserialize_with = "labels")]
    #[param(value_type = Option<String>, example = "team=a,stage=test")]
    label: BTreeMap<String, String>,
    /// Only tasks with this text, in any case, in the id, tool, owner, arguments, labels or status
    /// message.
    #[serde(default)]
    #[param(max_length = 200)]
    text: Option<String>,
    /// Only tasks created at this time or later (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, example = "2026-07-28T12:00:00Z")]
    created_after: Option<Timestamp>,
    /// Only tasks created before this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>)]
    created_before: Option<Timestamp>,
    /// Only tasks changed last at this time or later (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>)]
    updated_after: Option<Timestamp>,
    /// Only tasks changed last before this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>)]
    updated_before: Option<Timestamp>,
    /// `newest` first, or `oldest`, by creation.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// `nextCursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many tasks on a page, 1 to 500.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// In what order tasks are listed.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    #[default]
    Newest,
    Oldest,
}

pub(super) fn usual_page() -> usize {
    50
}

fn words<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    let word = |word: &str| {
        let word = serde::de::value::StringDeserializer::<D::Error>::new(word.trim().to_owned());
        T::deserialize(word)
    };
    text.split(',').map(word).collect()
}

fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let label = |label: String| {
        let (key, value) = label.split_once('=').ok_or_else(|| {
            D::Error::custom(format!("{label:?} is no label; write it as KEY=VALUE"))
        })?;
        Ok((key.to_owned(), value.to_owned()))
    };
    between_commas(&text).into_iter().map(label).collect()
}

/// What stands between commas, where what comes after a backslash stands for itself.
fn between_commas(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(letters.next().unwrap_or(letter)),
            _ => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = text.parse().map_err(D::Error::custom)?;
    Ok(Some(time))
}

impl Which {
    fn filter(self, who: &Principal) -> Result<Filter, Problem> {
        let owner = whose(who, self.owner)?;
        if let Some(text) = &self.text
            && !(1..=LONGEST_TEXT).contains(&text.len())
        {
            return Err(Problem::bad(format!(
                "\"text\" has {} bytes; allowed: 1 to {LONGEST_TEXT}",
                text.len()
            )));
        }
        let span = |from, until| Span { from, until };
        let standings = standings(&self.status, &self.outcome)?;
        Ok(Filter {
            owner,
            tool: self.tool,
            phases: self.phase,
            standings,
            labels: self.label,
            text: self.text,
            created: span(self.created_after, self.created_before),
            updated: span(self.updated_after, self.updated_before),
            oldest_first: self.order == Order::Oldest,
            ..Filter::default()
        })
    }
}

/// Those that have one of the statuses, and one of the outcomes; empty where all are meant.
fn standings(statuses: &[TaskStatus], outcomes: &[TaskOutcome]) -> Result<Vec<Standing>, Problem> {
    if statuses.is_empty() && outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let fits = |standing: &Standing| {
        let outcome = TaskOutcome::of(*standing);
        (statuses.is_empty() || statuses.contains(&standing.status(Era::Modern)))
            && (outcomes.is_empty() || outcome.is_some_and(|outcome| outcomes.contains(&outcome)))
    };
    let fitting: Vec<_> = Standing::ALL.into_iter().filter(fits).collect();
    if fitting.is_empty() {
        return Err(Problem::bad(
            "no task has such a \"status\" and such an \"outcome\": the outcomes \"completed\" and \"error\" are of \
             the status \"completed\", and \"failed\" and \"cancelled\" of their own; leave one of the two out",
        ));
    }
    Ok(fitting)
}

/// Whose tasks are meant; `None` for everybody's.
pub(super) fn whose(who: &Principal, asked: Option<String>) -> Result<Option<Owner>, Problem> {
    let owner = match asked.as_deref() {
        None => return Ok(Some(who.owner().clone())),
        Some(EVERYBODY) => None,
        Some(name) => Some(Owner::new(name)),
    };
    if owner.as_ref() == Some(who.owner()) || is_admin(who) {
        Ok(owner)
    } else {
        Err(Problem::needs(Scope::Admin))
    }
}

/// Some tasks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskPage {
    /// In the order that was asked for; each without its arguments.
    tasks: Vec<TaskView>,
    /// Where the next page begins. Absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl TaskPage {
    pub(super) fn of(api: &Api, page: &Page, base: &Base) -> Self {
        Self {
            tasks: page
                .tasks
                .iter()
                .map(|task| TaskView::short(task, base))
                .collect(),
            next_cursor: page.next.map(|next| api.server().seal_cursor(next)),
        }
    }
}

/// The position that a cursor names.
pub(super) fn position(api: &Api, cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let open = |cursor| {
        api.server().open_cursor(cursor).ok_or_else(|| {
            Problem::bad("\"cursor\" is none of this server; take \"nextCursor\" of a page, or begin without one")
        })
    };
    cursor.map(open).transpose()
}

/// The caller's tasks. With `text` a page may have fewer tasks than asked for, or none, although there
/// is a `nextCursor`: the search goes on there.
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", params(Which),
    responses(
        (status = 200, description = "The tasks.", body = TaskPage),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 403, description = "Only an administrator may see other owners' tasks.", body = Problem),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(who): Reader,
    base: Base,
    Query(which): Query<Which>,
) -> Result<Json<TaskPage>, Problem> {
    if !(1..=LARGEST_PAGE).contains(&which.limit) {
        return Err(Problem::out_of_range("limit", which.limit, LARGEST_PAGE));
    }
    let (cursor, limit) = (position(&api, which.cursor.as_deref())?, which.limit);
    let filter = which.filter(&who)?;
    let page = api.handle().list_any(&filter, cursor, limit).await?;
    Ok(Json(TaskPage::of(&api, &page, &base)))
}
