//! The parts of the `outlast` program: its configuration file and the running of commands.
//!
//! They are a library only so that tests can reach them; the program is the product, and nothing
//! here is promised to stay.

pub mod command;
pub mod config;
