//! Durability, shown by killing processes.

mod beside;
mod commands;
#[expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod copy;
mod crash;
mod kill_children;
mod kill_steps;
mod many;
mod outage;
mod redelivery;
mod roles;
mod secured;
mod suspended;
mod webhooks;
