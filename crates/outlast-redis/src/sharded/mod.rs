//! A store of several shards: each owner's tasks stand together in one of them, and each shard is a store of its
//! own, in a slot of its own.
//!
//! * **What is atomic is of one owner.** Children, dependencies, idempotency keys and keys of the same work
//!   never reach over to another owner's task, so each is one unit of one shard. What holds over several
//!   owners does not exist here: limits, rates and quotas that are not per owner are refused by whoever
//!   declares them ([`StoreInfo::shards`](outlast_core::store::StoreInfo)).
//! * **An id names its shard.** New ids are drawn until they fall into the shard of their owner, so a task is
//!   found in one trip. One that came from elsewhere, copied from another store, is looked for in the shard
//!   that its id names, then in all others, and this process remembers where it was. Nothing is written
//!   that could contradict the task itself.
//! * **The order of creation** goes over all shards by the clock, to the millisecond; and whatever one process
//!   creates after another stands behind it. The order of claiming (priority, then creation) is that of each
//!   shard, and claims go round: each begins at the next shard, and of the ends of attempts every
//!   [`ROUND`]th takes its next task from the next shard, so that a long queue of one owner holds up nobody
//!   in another shard.
//! * **Rules and pauses** stand in every shard; those of the first are the truth. A change is written there,
//!   then to the others, and looked after every [`SETTLE`], whoever was cut off in between.
//! * **Schedules** stand with their owner's tasks: [`schedule`].
//! * **Signs of workers** stand in every shard; small records are divided by their names; processes show their
//!   life and take back each other's tasks in each shard for itself.
//! * **A shard that does not answer** is left out by claims and ticks until it does, and its leases are said to
//!   be unknown, so that the tasks of all other shards go on. What asks for everything (a list over all
//!   owners, counts) fails.
//! * **The number of shards** is kept at the first start; another one is refused. A store with another number
//!   is another store, into which this one is copied.

mod archive;
mod controls;
mod merge;
mod reads;
mod schedule;
mod slot;
mod store;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use outlast_core::archive::Archive;
use outlast_core::{Error, Owner, Result, TaskId};

use crate::address::Address;
use crate::connection::Link;
use crate::driver::Driver;
use crate::examination::Examination;
use crate::options::Options;
use crate::schema::{self, Part};
use crate::store::RedisStore;

/// How many ends of attempts there are to one that takes its next task from another shard.
const ROUND: usize = 4;

/// How often rules and pauses of all shards are looked after.
const SETTLE: Duration = Duration::from_secs(30);

/// The most tasks of which is remembered that their ids name another shard.
const MOST_STRANGERS: usize = 100_000;

/// Opens the store at an address, of one shard or of several (`?shards=NUMBER`). Blocks until Redis has answered.
///
/// Shards divide the load of many owners among the nodes of a cluster, where each shard is on the node that has
/// its slot; on one server there is nothing to gain. All processes of a store give the same number.
///
/// # Errors
/// As [`RedisStore::open`]; the store is divided into another number of shards.
pub fn open(options: Options) -> Result<Arc<dyn Archive>> {
    let address = Address::read(&options.address)?;
    if address.shards == 1 {
        return Ok(Arc::new(RedisStore::open(options)?));
    }
    Ok(Arc::new(Sharded::open(&address, &options)?))
}

/// What [`RedisStore::examine`] says of all shards together.
pub(crate) fn examine(address: &Address, server_name: &str) -> Result<Examination> {
    let mut found = RedisStore::examine_part(address, Part::Root(address.shards), server_name)?;
    let mut servers = BTreeSet::new();
    for (part, address) in parts(address) {
        let one = RedisStore::examine_part(&address, part, server_name)?;
        found.durable &= one.durable;
        found.replicas = found.replicas.min(one.replicas);
        servers.insert(one.server);
        for (all, more) in [
            (&mut found.problems, one.problems),
            (&mut found.warnings, one.warnings),
        ] {
            for problem in more {
                if !all.contains(&problem) {
                    all.push(problem);
                }
            }
        }
    }
    found.server = Vec::from_iter(servers).join(", ");
    Ok(found)
}

/// The shards of a store, and where each is.
fn parts(address: &Address) -> impl Iterator<Item = (Part, Address)> {
    let of = address.shards;
    let names = slot::names(&address.prefix, of).into_iter().enumerate();
    names.map(move |(number, name)| {
        let words = format!("shard {number}");
        (Part::Shard { number, of }, address.part(name, &words))
    })
}

/// Tasks in several shards.
pub(crate) struct Sharded {
    shards: Vec<RedisStore>,
    location: String,
    /// Counts claims; each begins at another shard.
    turn: AtomicUsize,
    /// Counts ends of attempts that ask for a next task.
    ends: AtomicUsize,
    /// Tasks whose ids name another shard than the one that has them.
    strangers: Mutex<HashMap<TaskId, usize>>,
    /// When rules and pauses of all shards were last found to be the same.
    settled: Mutex<Option<Instant>>,
}

impl Sharded {
    fn open(address: &Address, options: &Options) -> Result<Self> {
        begin(address, options)?;
        let place = Arc::<AtomicU64>::default();
        let open = |(part, address): (Part, Address)| {
            RedisStore::open_part(&address, part, options.clone(), Arc::clone(&place))
        };
        Ok(Self {
            shards: parts(address).map(open).collect::<Result<_>>()?,
            location: address.location.clone(),
            turn: AtomicUsize::new(0),
            ends: AtomicUsize::new(0),
            strangers: Mutex::default(),
            settled: Mutex::default(),
        })
    }

    fn of_owner(&self, owner: &Owner) -> usize {
        slot::of_owner(owner, self.shards.len())
    }

    fn strangers(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, usize>> {
        self.strangers
            .lock()
            .expect("nothing panics under this lock")
    }

    /// Notes which shard has a task.
    fn note(&self, id: TaskId, shard: usize) {
        if slot::of_id(id, self.shards.len()) == shard {
            return;
        }
        let mut strangers = self.strangers();
        if strangers.len() >= MOST_STRANGERS {
            strangers.clear();
        }
        strangers.insert(id, shard);
    }

    /// The shard that is asked first for a task.
    fn route(&self, id: TaskId) -> usize {
        let known = self.strangers().get(&id).copied();
        known.unwrap_or_else(|| slot::of_id(id, self.shards.len()))
    }

    /// The shard that has a task which `asked` does not seem to have; `None` if none other has.
    async fn elsewhere(&self, id: TaskId, asked: usize) -> Result<Option<usize>> {
        if self.shards[asked].has(id).await? {
            return Ok(None);
        }
        let others = (0..self.shards.len()).filter(|shard| *shard != asked);
        let looks = others.map(|shard| async move { (shard, self.shards[shard].has(id).await) });
        let mut failed = None;
        for (shard, has) in join_all(looks).await {
            match has {
                Ok(true) => {
                    self.note(id, shard);
                    return Ok(Some(shard));
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The shard of a task, or the one that its id names if there is no such task.
    async fn locate(&self, id: TaskId) -> Result<usize> {
        let shard = self.route(id);
        Ok(self.elsewhere(id, shard).await?.unwrap_or(shard))
    }

    /// Asks the shard of a task. `missing` tells from the answer of one that it may be another's.
    async fn at<'a, T, F>(
        &'a self,
        id: TaskId,
        ask: impl Fn(&'a RedisStore) -> F + Send,
        missing: impl Fn(&Result<T>) -> bool + Send,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let shard = self.route(id);
        let answer = ask(&self.shards[shard]).await;
        if missing(&answer)
            && let Some(other) = self.elsewhere(id, shard).await?
        {
            return ask(&self.shards[other]).await;
        }
        answer
    }

    /// [`Sharded::at`] for what only a task that is there can do.
    async fn with<'a, T, F>(
        &'a self,
        id: TaskId,
        ask: impl Fn(&'a RedisStore) -> F + Send,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        self.at(id, ask, |answer| {
            matches!(answer, Err(Error::NotFound(_) | Error::LeaseLost(_)))
        })
        .await
    }

    /// Asks all shards at once.
    ///
    /// # Errors
    /// One of them failed.
    async fn all<'a, T, F>(&'a self, ask: impl Fn(&'a RedisStore) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>>,
    {
        join_all(self.shards.iter().map(ask))
            .await
            .into_iter()
            .collect()
    }

    /// The shards that answer, beginning with the one whose turn it is; all of them if none does.
    fn answering(&self, turn: usize) -> Vec<usize> {
        let count = self.shards.len();
        let mut all: Vec<_> = (0..count)
            .map(|shard| (turn % count + shard) % count)
            .collect();
        if all.iter().any(|shard| self.shards[*shard].answers()) {
            all.retain(|shard| self.shards[*shard].answers());
        }
        all
    }

    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// Looks whether the store is divided into as many shards as the address says, and notes it if it is new.
fn begin(address: &Address, options: &Options) -> Result<()> {
    let link = Link::new(address)?;
    let (part, server) = (Part::Root(address.shards), options.server_name.clone());
    let (driver, volatile) = (Driver::start()?, address.volatile);
    let checked =
        driver.block_on(async move { schema::check(&link, &server, volatile, part).await });
    driver.stop();
    checked.map(|_| ())
}
