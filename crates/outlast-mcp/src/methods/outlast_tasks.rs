//! `outlast/tasks` and `outlast/delete`, both eras: the caller's tasks by what they are, and deleting some.
//!
//! No part of the protocol, whose list of 2025-11-25 has no filters and whose 2026-07-28 has no list; the
//! names are in our own space, so that they collide with nothing.
//!
//! With `parent`, the id of a task, `outlast/tasks` has the tasks that this one has started, for whoever may
//! read it and wherever; it then takes nothing else but `oldestFirst`, `limit` and `cursor`. Otherwise it takes
//! `standings` (`working`, `input_required`, `completed`, `error` for a tool's own, `failed`, `cancelled`) and
//! `phases` (lists; empty is all), `tool`, `labels` (an object), `text`, `createdBefore` and `updatedBefore` (RFC 3339), `oldestFirst`, `limit` (50; at most 500) and `cursor`. The
//! result has `tasks`, in the words of the era and with `outlast/phase` and `outlast/startedAt` in their
//! `_meta`, and `nextCursor`. It is offered where `tasks/list` is: where callers can be told apart.
//!
//! `outlast/delete` takes `taskIds`, at most 500. The result has `deleted`, the ids of those that had ended
//! and are gone; the others are not the caller's, are not there, or have not ended.

use std::borrow::Cow;
use std::collections::BTreeMap;

use outlast_core::filter::Span;
use outlast_core::status::{Era, Phase};
use outlast_core::store::{Filter, Page};
use outlast_core::{Standing, Task, TaskId, Timestamp};
use serde::Deserialize;

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;
use crate::methods::tasks_list::{is_offered, position};
use crate::wire::{self, Object};

/// The most tasks of one request.
const MOST: usize = 500;

/// The longest text that is searched for, in bytes.
const LONGEST_TEXT: usize = 200;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Which<'a> {
    standings: Vec<Standing>,
    phases: Vec<Phase>,
    tool: Option<String>,
    labels: BTreeMap<String, String>,
    text: Option<String>,
    #[serde(borrow)]
    parent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    created_before: Option<Cow<'a, str>>,
    #[serde(borrow)]
    updated_before: Option<Cow<'a, str>>,
    oldest_first: bool,
    limit: usize,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
}

impl Default for Which<'_> {
    fn default() -> Self {
        Self {
            standings: Vec::new(),
            phases: Vec::new(),
            tool: None,
            labels: BTreeMap::new(),
            text: None,
            parent: None,
            created_before: None,
            updated_before: None,
            oldest_first: false,
            limit: 50,
            cursor: None,
        }
    }
}

pub(crate) async fn list(cx: &Context<'_>) -> Reply {
    let which: Which<'_> = cx.params.read()?;
    if which.parent.is_none() && !is_offered(cx.transport, cx.principal) {
        return Err(RpcError::invalid_request(
            "the server does not list tasks here, where every caller is the same one to the server: use the \
             server's socket on its machine, give the server users, or ask for a task by its id",
        ));
    }
    if !(1..=MOST).contains(&which.limit) {
        return Err(RpcError::invalid_params(format!(
            "the limit {} is out of range; allowed: 1 to {MOST}",
            which.limit
        )));
    }
    if let Some(text) = &which.text
        && !(1..=LONGEST_TEXT).contains(&text.len())
    {
        return Err(RpcError::invalid_params(format!(
            "\"text\" has {} bytes; allowed: 1 to {LONGEST_TEXT}",
            text.len()
        )));
    }
    let before = |moment: Option<Cow<'_, str>>| -> Result<Span, RpcError> {
        let until = moment.map(|moment| moment.parse::<Timestamp>()).transpose();
        let until = until.map_err(RpcError::invalid_params)?;
        Ok(Span { from: None, until })
    };
    // Read in either case: what cannot be one is refused also where it would change nothing.
    let (created, updated) = (before(which.created_before)?, before(which.updated_before)?);
    let cursor = which
        .cursor
        .map(|cursor| position(cx, &cursor))
        .transpose()?;
    let handle = &cx.server.handle;
    if let Some(parent) = &which.parent {
        let parent = parent.parse().map_err(|_| {
            RpcError::invalid_params(format!(
                "\"parent\" is {parent:?}, which is no id of a task"
            ))
        })?;
        let (oldest_first, limit) = (which.oldest_first, which.limit);
        let page = handle.children(cx.principal, parent, oldest_first, cursor, limit);
        return Ok(page_of(cx, &page.await.map_err(from_store)?));
    }
    let filter = Filter {
        standings: which.standings,
        phases: which.phases,
        tool: which.tool,
        labels: which.labels,
        text: which.text,
        created,
        updated,
        oldest_first: which.oldest_first,
        ..Filter::default()
    };
    let page = handle.list(cx.principal, filter, cursor, which.limit);
    Ok(page_of(cx, &page.await.map_err(from_store)?))
}

fn page_of(cx: &Context<'_>, page: &Page) -> Vec<u8> {
    let now = cx.server.handle.now();
    cx.reply_object(|result| {
        begin(cx, result);
        let list = result.buffer("tasks");
        list.push(b'[');
        for (index, task) in page.tasks.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            one(cx, &mut Object::new(list), task, now);
        }
        list.push(b']');
        if let Some(next) = page.next {
            result.plain("nextCursor", cx.server.seal_cursor(next));
        }
    })
}

fn one(cx: &Context<'_>, object: &mut Object<'_>, task: &Task, now: Timestamp) {
    match cx.version.era() {
        Era::Legacy => wire::legacy_members(object, task, now),
        Era::Modern => wire::modern_members(object, task, now),
    }
    let mut meta = object.object("_meta");
    wire::annotations(&mut meta, task);
    meta.plain("outlast/phase", task.state.phase.as_str());
    if let Some(started) = task.state.started_at {
        meta.plain("outlast/startedAt", started);
    }
}

#[derive(Deserialize)]
struct Delete {
    #[serde(rename = "taskIds")]
    ids: Vec<String>,
}

pub(crate) async fn delete(cx: &Context<'_>) -> Reply {
    let Delete { ids } = cx.params.read()?;
    if ids.len() > MOST {
        return Err(RpcError::invalid_params(format!(
            "{} tasks are too many at once; allowed: {MOST}",
            ids.len()
        )));
    }
    let mut deleted = Vec::new();
    for text in ids {
        let Ok(id) = text.parse::<TaskId>() else {
            continue;
        };
        match cx.server.handle.delete(cx.principal, id).await {
            Ok(true) => deleted.push(text),
            Ok(false) | Err(outlast_core::Error::NotFound(_)) => {}
            Err(error) => return Err(from_store(error)),
        }
    }
    let deleted = serde_json::to_string(&deleted).expect("a list of strings has a JSON form");
    Ok(cx.reply_object(|result| {
        begin(cx, result);
        result.raw("deleted", &deleted);
    }))
}

fn begin(cx: &Context<'_>, result: &mut Object<'_>) {
    if cx.version.era() == Era::Modern {
        result.raw("resultType", r#""complete""#);
        result.raw("_meta", cx.server.meta.as_str());
    }
}
