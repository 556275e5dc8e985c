//! Firing: one task for one fire time, in one unit with the record's next state.

use std::time::Duration;

use outlast_core::store::SchedulePut;
use outlast_core::{Error, Schedule, Timestamp};

use super::{check, spec_of, still_open};
use crate::lifecycle;
use crate::shared::Shared;

/// How long to wait after something went wrong.
const BACKOFF: Duration = Duration::from_secs(1);

/// Fires the schedules that are due at `now`. Returns when to look again, if that can be told.
pub(crate) async fn fire_due(
    shared: &Shared,
    due: Vec<Schedule>,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut again: Option<Timestamp> = None;
    for schedule in due {
        let next = match fire(shared, &schedule, now).await {
            Ok(next) => next,
            Err(error) => {
                let name = &schedule.spec.name;
                tracing::warn!(schedule = name, %error, "could not fire a schedule; trying again");
                Some(now + BACKOFF)
            }
        };
        again = again.into_iter().chain(next).min();
    }
    again
}

/// Does what is due of one schedule. Returns when it is due again.
async fn fire(
    shared: &Shared,
    found: &Schedule,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let tools = shared.tools();
    if tools.get(&found.spec.tool).is_none() {
        // Another process may have it. Here it is looked at with every tick, and left alone.
        return Ok(None);
    }
    let tool = match check(&found.spec, &tools) {
        Ok(tool) => tool,
        // The tool has changed under the schedule.
        Err(refused) => return refuse(shared, found, &refused, now).await,
    };
    let open = still_open(shared, found).await?;
    let mut after = found.clone();
    let fire_at = after.fire(open, now);
    let task = fire_at.map(|fire_at| {
        let task = spec_of(shared, &after, tool, Some(fire_at), &after.state.open);
        after.started(fire_at, task.id);
        task
    });
    let waits_for_others = task.as_ref().is_some_and(|task| !task.after.is_empty());
    let expected = Some(found.state.version);
    match shared.store.schedule_put(expected, after, task).await {
        Ok(SchedulePut::Done { schedule, created }) => {
            if let Some(created) = created {
                lifecycle::created(&created.task);
            } else if let Some(note) = &schedule.state.note {
                tracing::info!(schedule = schedule.spec.name, note, "schedule not fired");
            }
            Ok(schedule.due_at())
        }
        // Somebody else fired it, or changed it.
        Ok(SchedulePut::Stale(there)) => Ok(there.and_then(|there| there.due_at())),
        Err(full @ Error::QueueFull { retry_after, .. }) => {
            let mut held = found.clone();
            held.hold(now + retry_after.max(BACKOFF), full.to_string(), now);
            put(shared, found, held).await
        }
        // A task that it was to come after may just have been deleted: without it, the next try fits.
        Err(error @ Error::Invalid(_)) if waits_for_others => Err(error),
        Err(refused @ (Error::Invalid(_) | Error::KeyReused { .. })) => {
            refuse(shared, found, &refused, now).await
        }
        Err(error) => Err(error),
    }
}

/// What becomes of a fire time that cannot be fired here. What a server declares is known as it is meant to
/// processes of the same release, and beside them one of another release may be the first that looks: it leaves
/// the schedule to the others.
async fn refuse(
    shared: &Shared,
    found: &Schedule,
    why: &Error,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let ours = match found.spec.declared {
        true => shared.declares(&found.spec),
        // Made while servers ran, and checked by one of them.
        false => shared.role.declares(),
    };
    if !ours {
        return Ok(None);
    }
    give_up(shared, found, why, now).await
}

/// Moves on past a fire time that can never be fired.
async fn give_up(
    shared: &Shared,
    found: &Schedule,
    why: &Error,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    tracing::warn!(schedule = found.spec.name, %why, "schedule not fired");
    let mut after = found.clone();
    after.give_up(format!("could not be fired: {why}"), now);
    put(shared, found, after).await
}

async fn put(
    shared: &Shared,
    found: &Schedule,
    after: Schedule,
) -> Result<Option<Timestamp>, Error> {
    let expected = Some(found.state.version);
    let written = shared.store.schedule_put(expected, after, None).await?;
    Ok(match written {
        SchedulePut::Done { schedule, .. } => schedule.due_at(),
        SchedulePut::Stale(there) => there.and_then(|there| there.due_at()),
    })
}
