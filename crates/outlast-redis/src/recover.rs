//! What is taken back from processes that are dead, and what it counts.
//!
//! A process is **dead for certain** if it ran on this machine and is gone, or if the machine was
//! started anew since. That is looked for at every start and every few seconds, so that another process
//! on the machine takes over within moments. A process elsewhere that shows no sign of life is **taken
//! for dead** once a lease of its has run out too: nobody can tell it from one that is cut off, and a
//! task that kills every process that runs it must not go round a fleet for ever.
//!
//! One that was taken for dead may come back, and claims before it has said again who it is: whoever starts
//! just then leaves what it runs to its leases.
//!
//! Each crash counts against a task only if that task alone can have caused it, so the tasks of a dead
//! process have to be counted together. Whoever removes its entry does that; nobody does it twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use outlast_core::event::RescueReason;
use outlast_core::id::WorkerId;
use outlast_core::machine::Rescue;
use outlast_core::store::Recovered;
use outlast_core::{Result, Task};

use crate::executor::{Executor, done};
use crate::process::Processes;
use crate::row;

impl Executor {
    /// Takes back at the start of a process what dead ones ran, and what workers run that no process
    /// answers for.
    pub(crate) async fn recover(&self) -> Result<Recovered> {
        let mut recovered = self.bury_dead().await?;
        // In this order: whoever ran something when that was looked at had signed in before.
        let running = self.running().await?;
        let processes = self.processes().await?;
        let buried = self.buried().await?;
        let unknown: BTreeSet<_> = running
            .iter()
            .filter_map(|task| Some(task.state.held.as_ref()?.worker))
            .filter(|worker| !processes.knows(*worker) && !buried.contains(worker))
            .collect();
        // They are taken for one process.
        self.take_back(&running, &unknown, RescueReason::Crash, &mut recovered)
            .await?;
        Ok(recovered)
    }

    /// Takes back what processes ran that are dead for certain.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn bury_dead(&self) -> Result<Recovered> {
        let processes = self.processes().await?;
        let dead = processes.dead(&self.origin, self.clock.now());
        self.bury(&processes, dead).await
    }

    /// Takes back what the processes of `workers` ran, as far as they are silent. Says how many tasks
    /// have changed.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn bury_silent(&self, workers: &BTreeSet<WorkerId>) -> Result<usize> {
        if workers.is_empty() {
            return Ok(0);
        }
        let now = self.clock.now();
        let processes = self.processes().await?;
        let silent = processes.silent(workers, &self.origin, now);
        let recovered = self.bury(&processes, silent).await?;
        Ok(recovered.rescued + recovered.failed)
    }

    async fn bury(
        &self,
        processes: &Processes,
        dead: Vec<(String, RescueReason)>,
    ) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        for (name, reason) in dead {
            let worker = processes.worker_of(&name);
            if !self.remove_entry(&name, worker).await? {
                continue;
            }
            let Some(worker) = worker else {
                continue;
            };
            let running = self.running().await?;
            self.take_back(&running, &[worker].into(), reason, &mut recovered)
                .await?;
        }
        Ok(recovered)
    }

    /// All tasks that run, in the order of creation: what comes of one that ends may concern a later one.
    async fn running(&self) -> Result<Vec<Arc<Task>>> {
        let range = redis::cmd("ZRANGE")
            .arg(self.link.key("p:running"))
            .arg(0)
            .arg(-1)
            .take();
        let running = row::ids(self.link.command(&range).await?);
        self.readable(&running).await
    }

    /// Takes back the tasks of the workers of one dead process.
    async fn take_back(
        &self,
        running: &[Arc<Task>],
        workers: &BTreeSet<WorkerId>,
        reason: RescueReason,
        recovered: &mut Recovered,
    ) -> Result<()> {
        let beside: Vec<_> = running
            .iter()
            .filter(|task| {
                let held = task.state.held.as_ref();
                held.is_some_and(|held| workers.contains(&held.worker))
            })
            .collect();
        let taken = Rescue::after_death(reason, beside.iter().map(|task| &***task));
        for task in &beside {
            let rescue = taken(task);
            let lease = task.lease().expect("it is held");
            let outcome = self.run(|unit| unit.rescue(&lease, rescue), |_| None);
            match done(outcome.await?).0 {
                Some(true) => recovered.rescued += 1,
                Some(false) => recovered.failed += 1,
                None => {}
            }
        }
        Ok(())
    }
}
