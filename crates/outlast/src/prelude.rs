//! What nearly every server needs: `use outlast::prelude::*;`.

pub use crate::{
    BlockingCx, Bytes, Content, Cx, Error, Level, Message, Prompt, Reply, RequestCx, Resource,
    Result, Server, Settings, State, TaskSupport, Tool, prompt, resource, tool,
};
