//! A rig for tests that start real servers, kill them with `kill -9`, and ask what is left.
//!
//! The client here is a hundred lines over a socket, written for these tests alone, so that a fault
//! of the product's own client cannot hide a fault of the server.

mod client;
mod random;
mod redis;
mod server;

pub use client::{Answer, Client, Events};
pub use random::Random;
pub use redis::Redis;
pub use server::{Server, Signal, binary, eventually, free_port};
