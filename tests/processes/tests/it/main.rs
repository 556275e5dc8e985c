//! Durability, shown by killing processes.

mod commands;
mod kill_steps;
