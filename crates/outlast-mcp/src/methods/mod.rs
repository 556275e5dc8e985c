//! One file for each method.

pub(crate) mod complete;
pub(crate) mod discover;
pub(crate) mod initialize;
pub(crate) mod listen;
pub(crate) mod lists;
pub(crate) mod outlast_logs;
pub(crate) mod outlast_overview;
pub(crate) mod outlast_pause;
pub(crate) mod outlast_retry;
pub(crate) mod outlast_schedules;
pub(crate) mod outlast_share;
pub(crate) mod outlast_signal;
pub(crate) mod outlast_tasks;
pub(crate) mod outlast_webhooks;
pub(crate) mod ping;
pub(crate) mod prompts_get;
pub(crate) mod resources_read;
mod rounds;
pub(crate) mod set_level;
pub(crate) mod subscribe;
pub(crate) mod tasks_cancel;
pub(crate) mod tasks_get;
pub(crate) mod tasks_list;
pub(crate) mod tasks_result;
pub(crate) mod tasks_update;
pub(crate) mod tools_call;
