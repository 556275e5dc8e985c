//! What nearly every server needs: `use outlast::prelude::*;`.

pub use crate::{
    BlockingCx, Bytes, Content, Cx, Error, Level, Reply, Result, Server, Settings, State,
    TaskSupport, Tool, tool,
};
