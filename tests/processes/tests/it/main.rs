//! Durability, shown by killing processes.

mod commands;
mod crash;
mod kill_children;
mod kill_steps;
mod redelivery;
mod suspended;
mod webhooks;
