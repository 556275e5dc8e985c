//! A call that is to become a task, and the task that it means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::limit::Keys;
use outlast_core::machine::Dependency;
use outlast_core::task::ReplyTo;
use outlast_core::{Owner, RawJson, TaskSpec, Timestamp};

use crate::carried::Carried;
use crate::defaults;
use crate::order::ALL_TOOLS;
use crate::shared::Shared;
use crate::tool::Tool;
use crate::webhook::{self, CallWebhook};

/// A call of a tool, checked by the surface it came through as far as that surface's rules go.
///
/// The arguments must have passed [`crate::Handler::check`]: nothing that a tool refuses is stored.
#[derive(Clone)]
pub struct NewCall {
    /// The tool.
    pub tool: Arc<Tool>,
    /// Its arguments, a JSON object.
    pub arguments: RawJson,
    /// Who calls.
    pub owner: Owner,
    /// See [`TaskSpec::client`].
    pub client: Option<RawJson>,
    /// See [`TaskSpec::request_meta`].
    pub request_meta: Option<RawJson>,
    /// See [`TaskSpec::reply_to`].
    pub reply_to: Option<ReplyTo>,
    /// See [`TaskSpec::first_answers`].
    pub first_answers: BTreeMap<String, RawJson>,
    /// See [`TaskSpec::ttl`].
    pub ttl: Option<Duration>,
    /// See [`TaskSpec::priority`]. At first the tool's.
    pub priority: i16,
    /// See [`TaskSpec::run_at`].
    pub run_at: Option<Timestamp>,
    /// Not before so long after the call. With `run_at`, the later of both counts.
    pub delay: Option<Duration>,
    /// The caller's name for the call, so that it may be repeated without harm: see
    /// [`outlast_core::same::IdempotencyKey`].
    pub key: Option<String>,
    /// Tasks of the same owner that must have ended before this one runs. Only for
    /// [`Handle::create`](crate::Handle::create); see [`Dependency`] for what each edge means.
    pub after: Vec<Dependency>,
    /// See [`TaskSpec::labels`]. The tool's own are added where these have none of the key.
    pub labels: BTreeMap<String, String>,
    /// Who else is told over HTTP what becomes of the task. Only for tools that may be tasks: a call with
    /// one is stored from its beginning. A call that an earlier one's task takes in brings them along; one
    /// that repeats an idempotency key brings none.
    pub webhooks: Vec<CallWebhook>,
    /// What an earlier call of a tool that is never a task has done already. Of no effect for tools
    /// that are.
    pub carried: Carried,
}

impl NewCall {
    /// A call of `tool` by `owner` with nothing else said.
    pub fn new(tool: Arc<Tool>, arguments: RawJson, owner: Owner) -> Self {
        let priority = tool.order.priority;
        Self {
            tool,
            arguments,
            owner,
            client: None,
            request_meta: None,
            reply_to: None,
            first_answers: BTreeMap::new(),
            ttl: None,
            priority,
            run_at: None,
            delay: None,
            key: None,
            after: Vec::new(),
            labels: BTreeMap::new(),
            webhooks: Vec::new(),
            carried: Carried::default(),
        }
    }

    pub(crate) fn into_spec(self, shared: &Shared) -> TaskSpec {
        let (tool, order) = (&self.tool, &self.tool.order);
        let tools = shared.tools();
        let fields = tools.secrets_of(&tool.name);
        // Keys and digests are stored, and must not tell what is secret.
        let telling_apart =
            self.key.is_some() || order.reads_arguments() || shared.order().reads_arguments();
        let filled = telling_apart
            .then(|| defaults::filled(&self.arguments, &tool.input_schema))
            .flatten();
        let meant = filled.as_ref().unwrap_or(&self.arguments);
        let keyed = fields.map(|fields| shared.vault.keyed(meant, fields));
        let telling = keyed.as_ref().unwrap_or(meant);
        let mut keys = Keys::default();
        order.add_keys(&tool.name, telling, &self.owner, &mut keys);
        shared
            .order()
            .add_keys(ALL_TOOLS, telling, &self.owner, &mut keys);
        let idempotency = self.key.map(|key| order.idempotency(key, telling));
        let mut labels = tool.labels.clone();
        labels.extend(self.labels);
        let delayed = self.delay.map(|delay| shared.store.clock().now() + delay);
        let id = shared.store.new_id(&self.owner);
        let mut spec = TaskSpec {
            id,
            keys,
            idempotency,
            same: order.same_work(telling, &self.owner),
            tool_version: self.tool.version.clone(),
            owner: self.owner,
            client: self.client,
            request_meta: self.request_meta,
            reply_to: self.reply_to,
            first_answers: self.first_answers,
            ttl: self.ttl,
            priority: self.priority,
            run_at: self.run_at.max(delayed),
            after: self.after,
            labels,
            retention: self.tool.retention,
            max_age: self.tool.max_age,
            queue_timeout: self.tool.queue_timeout,
            no_worker_timeout: self.tool.no_worker_timeout,
            usual: shared.usual.of(&self.tool.name),
            max_crashes: self.tool.max_crashes.max(1),
            repeatable: self.tool.is_repeatable(),
            confirmed_by: self.tool.confirmed_by.clone(),
            ..TaskSpec::new(self.tool.name.clone(), self.arguments.clone())
        };
        if let Some(fields) = fields {
            shared.vault.seal_arguments(&mut spec, fields);
        }
        let webhooks = shared.courier.webhooks();
        spec.webhooks = webhook::of_call(webhooks.as_deref(), &shared.vault, &spec, self.webhooks);
        spec
    }
}
