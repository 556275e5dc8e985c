//! The memory store before the suite, and the state machine before chance.

mod faulty;
mod machine;
mod memory;
mod schedule;
