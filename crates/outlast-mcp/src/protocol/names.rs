//! The protocol's fixed names.

/// The tasks extension of 2026-07-28 (SEP-2663).
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// `_meta`: the version a stateless request speaks.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta`: who sends a stateless request.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta`: what the sender of a stateless request can do.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta`: who answers.
pub const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// `_meta`: the listen request a notification belongs to.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// `_meta`: the task a message belongs to (2025-11-25).
pub const META_RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// `_meta` of a Task object: its progress in numbers: `done`, `total`, `percent`, `message`, the `phase` with
/// its own, and `eta`, when it will probably be done. Ours.
pub const META_PROGRESS: &str = "outlast/progress";
/// `_meta` of a Task object: how many milliseconds earlier runs of its tool took, the median; an estimate of a
/// task that has not ended, and no share of it. Ours.
pub const META_USUAL: &str = "outlast/usualMs";
/// `_meta` of a Task object: the tool that runs. Ours.
pub const META_TOOL: &str = "outlast/tool";
/// `_meta` of a Task object that has ended: `completed`, `error` (a tool's own), `failed` or `cancelled`. Ours.
pub const META_OUTCOME: &str = "outlast/outcome";
/// `_meta` of a result that is an error: the arguments did not fit, and nothing ran. Ours.
pub const META_REFUSED: &str = "outlast/refused";
/// `_meta` of a Task object: its priority, where it is not the usual one. Ours.
pub const META_PRIORITY: &str = "outlast/priority";
/// `_meta` of a Task object: how many lines of its log were dropped, where any were. Ours.
pub const META_LINES_DROPPED: &str = "outlast/logLinesDropped";
/// `_meta` of a Task object: the task that started it. Ours.
pub const META_PARENT: &str = "outlast/parent";
/// `_meta` of a Task object: how many tasks it has started, where it has any. Ours.
pub const META_CHILDREN: &str = "outlast/children";
/// `_meta` of a call: who else is told over HTTP what becomes of the task. Ours.
pub const META_WEBHOOKS: &str = "outlast/webhooks";
/// `_meta` of a Task object: its labels. Ours.
pub const META_LABELS: &str = "outlast/labels";
/// `_meta` of a Task object: the task whose call it repeats. Ours.
pub const META_RETRY_OF: &str = "outlast/retryOf";

/// `_meta` of a call: after how many milliseconds it may be answered with the id of its task; null for
/// never. Ours.
pub const META_DETACH_AFTER: &str = "outlast/detachAfterMs";

/// Notification: the handshake of the older era is over.
pub(crate) const INITIALIZED: &str = "notifications/initialized";

/// Header: the version of every message after the handshake.
pub const HEADER_VERSION: &str = "mcp-protocol-version";
/// Header: the session of the older era.
pub const HEADER_SESSION: &str = "mcp-session-id";
/// Header: the method of a stateless request.
pub const HEADER_METHOD: &str = "mcp-method";
/// Header: the tool, prompt, resource or task a stateless request is about.
pub const HEADER_NAME: &str = "mcp-name";
/// Prefix of the headers that mirror arguments marked with `x-mcp-header`.
pub const HEADER_PARAM_PREFIX: &str = "mcp-param-";
