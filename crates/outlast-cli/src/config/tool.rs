//! `[tools.NAME]`: a command or a script that is offered as a tool.
//!
//! What is read here is complete: every placeholder names an argument, every pattern compiles, every
//! default is allowed. A tool that passes can only fail for what it is called with, or in its run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outlast::Icon;
use outlast_core::duration;
use outlast_engine::{Limit, OnDisconnect, Order, Per, Serving, TaskSupport};
use serde_json::{Map, Value, json};

use super::argument::{self, Argument, regex_message};
use super::icon;
use super::labels;
use super::limits::{self, Bounds};
use super::order;
use super::program::{self, Program};
use super::resolve;
use super::section::{Node, Section, kind};
use super::spans::{LONGEST, detach_after, heartbeat, limit, retention, up_to};
use super::template::Template;
use crate::command::limits::Limits;
use crate::command::progress::{PatternError, ProgressPattern};
use crate::command::{Inherited, artifacts, expand};

pub(super) const KEYS: [&str; 32] = [
    "title",
    "description",
    "icon",
    "tags",
    "version",
    "command",
    "shell",
    "arguments",
    "working_dir",
    "own_folder",
    "env",
    "timeout",
    "max_timeout",
    "idle_timeout",
    "queue_timeout",
    "no_worker_timeout",
    "max_age",
    "interrupt_grace",
    "terminate_grace",
    "progress",
    "task",
    "retention",
    "detach_after",
    "heartbeat",
    "on_disconnect",
    "repeatable",
    "requires",
    "confirm",
    "annotations",
    "artifacts",
    "log_file",
    "labels",
];

const ANNOTATIONS: [&str; 4] = [
    "readOnlyHint",
    "destructiveHint",
    "idempotentHint",
    "openWorldHint",
];

/// Names of the helper tools that the server adds itself.
const HELPERS: [&str; 6] = [
    "task_wait",
    "task_status",
    "task_result",
    "task_cancel",
    "task_list",
    "task_answer",
];

/// Time a cancelled command has after SIGINT before SIGTERM follows.
pub const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// Time it has after SIGTERM before SIGKILL follows.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(5);

/// The words for [`TaskSupport`] in the file.
pub(super) const TASK_MODES: [(&str, TaskSupport); 3] = [
    ("forbidden", TaskSupport::Forbidden),
    ("optional", TaskSupport::Optional),
    ("required", TaskSupport::Required),
];

/// A command tool as the file describes it.
#[derive(Clone, Debug)]
pub struct CommandTool {
    /// The name that callers use.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What the tool does. Models choose by it.
    pub description: String,
    /// A picture of it.
    pub icon: Option<Icon>,
    /// By which a server offers some of its tools.
    pub tags: Vec<String>,
    /// The version recorded with each task.
    pub version: String,
    /// The typed arguments, in the order of the file.
    pub arguments: Vec<Argument>,
    /// What is run.
    pub program: Program,
    /// Additional environment variables.
    pub env: Vec<(String, Template)>,
    /// What it inherits of the server's environment.
    pub inherited: Inherited,
    /// What it may use.
    pub limits: Limits,
    /// A file that it writes and that belongs to its log, relative to where it runs.
    pub log_file: Option<PathBuf>,
    /// Where it runs, unless each run has a folder of its own. Absolute if the file's path was.
    pub working_dir: PathBuf,
    /// Each run has an empty working folder of its own, which goes with the run.
    pub own_folder: bool,
    /// How long a run may take when the caller says nothing.
    pub timeout: Option<Duration>,
    /// The most a caller may ask for.
    pub max_timeout: Option<Duration>,
    /// How long a run may print nothing.
    pub idle_timeout: Option<Duration>,
    /// How long a task may stand ready before it is started for the first time.
    pub queue_timeout: Option<Duration>,
    /// For how long no living worker may run it while a task of it stands ready.
    pub no_worker_timeout: Option<Duration>,
    /// How old a task may grow before it must have ended; `None` takes the default.
    pub max_age: Option<Duration>,
    /// From SIGINT to SIGTERM when a run is stopped.
    pub interrupt_grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub terminate_grace: Duration,
    /// Patterns that find progress in the output.
    pub progress: Vec<ProgressPattern>,
    /// Patterns of files below the working folder that are kept with the task.
    pub artifacts: Vec<String>,
    /// Task support; `None` takes the server's default.
    pub task: Option<TaskSupport>,
    /// How long a result is kept after the end; `None` takes the server's default.
    pub retention: Option<Duration>,
    /// When its tasks run.
    pub order: Order,
    /// How calls are served whose caller waits.
    pub serving: Serving,
    /// The command may be run again when it vanished with its machine.
    pub repeatable: bool,
    /// What a worker must be labelled with to run it.
    pub requires: Vec<String>,
    /// Ask whether it shall run, before it does.
    pub confirm: bool,
    /// The hints for clients, under their names in the protocol.
    pub annotations: BTreeMap<String, bool>,
    /// Labels of its tasks.
    pub labels: BTreeMap<String, String>,
}

impl CommandTool {
    /// The JSON Schema (2020-12) of the arguments: an object that takes nothing else.
    #[must_use]
    pub fn input_schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .arguments
            .iter()
            .map(|argument| (argument.name.clone(), argument.schema()))
            .collect();
        let required: Vec<&str> = self
            .arguments
            .iter()
            .filter(|argument| argument.required)
            .map(|argument| argument.name.as_str())
            .collect();
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    /// What of this tool's runs at the same time cannot be told apart, so that what one writes may be kept
    /// with another's task: the name of the setting; `None` if nothing.
    #[must_use]
    pub fn mixes(&self) -> Option<&'static str> {
        let one_at_a_time = |limit: &Limit| limit.max == 1 && matches!(limit.per, Per::Tool);
        if self.own_folder || self.order.limits.iter().any(one_at_a_time) {
            return None;
        }
        if self.log_file.is_some() {
            return Some("log_file");
        }
        (!self.artifacts.is_empty()).then_some("artifacts")
    }

    /// The time limit of a run, given what its caller asked for.
    ///
    /// A caller may shorten the limit, and lengthen it up to `max_timeout`; a tool without either
    /// limit takes up to 30 days.
    ///
    /// # Errors
    /// A sentence that names the limit when the caller asked for more, or for no time at all.
    pub fn timeout_for(&self, asked: Option<Duration>) -> Result<Option<Duration>, String> {
        let Some(asked) = asked else {
            return Ok(self.timeout);
        };
        let most = self.max_timeout.or(self.timeout).unwrap_or(LONGEST);
        if asked.is_zero() || asked > most {
            return Err(format!(
                "a timeout of {} is not possible for {}; allowed: 1ms to {}",
                duration::format(asked),
                self.name,
                duration::format(most)
            ));
        }
        Ok(Some(asked))
    }
}

/// Reads `[tools.NAME]`. `folder` is what relative paths refer to; what is not said is as `above`.
pub(super) fn read(
    parent: &Section<'_>,
    name: &str,
    key_span: Range<usize>,
    node: Node<'_>,
    folder: &Path,
    above: &Bounds,
) -> Option<CommandTool> {
    check_name(parent, name, key_span.clone());
    let Some(table) = node.get_ref().as_table() else {
        let message = format!(
            "{} where a table is needed: [tools.{name}]",
            kind(node.get_ref())
        );
        parent.wrong_at(node.span(), name, message);
        return None;
    };
    let allowed: Vec<&str> = KEYS
        .iter()
        .chain(&limits::KEYS)
        .chain(&order::KEYS)
        .copied()
        .collect();
    let section = Section::open(
        parent.key(name),
        key_span,
        table,
        parent.problems(),
        &allowed,
    );

    let description = section.text("description");
    if !section.has("description") {
        section.wrong(
            "description",
            "missing; say what the tool does, models choose by it",
        );
    }
    let arguments = read_arguments(&section, folder);
    let working_dir = section
        .text("working_dir")
        .map_or_else(|| folder.to_owned(), |path| resolve(folder, &path));
    let env = program::read_env(&section, &arguments);
    let program = program::read(&section, &arguments, folder);
    if let (Some(Program::Words(words)), false) = (&program, arguments.is_empty()) {
        program::note_unused(&section, words, &env, &arguments);
    }
    let (timeout, max_timeout) = read_timeouts(&section);
    let order = order::read(&section, &arguments);
    let Bounds { limits, inherited } = limits::read(&section, above);
    let log_file = read_log_file(&section);
    let own_folder = section.boolean("own_folder").unwrap_or(false);
    if own_folder && section.has("working_dir") {
        section.wrong(
            "own_folder",
            "each run has a working folder of its own, and working_dir names one for all; give one of them",
        );
    }

    let tool = CommandTool {
        name: name.to_owned(),
        title: section.text("title"),
        description: description.unwrap_or_default(),
        icon: icon::read(&section, folder),
        tags: tags(&section, "tags").unwrap_or_default(),
        version: section.text("version").unwrap_or_else(|| "1".to_owned()),
        arguments,
        program: program?,
        env,
        inherited,
        working_dir,
        own_folder,
        limits,
        log_file,
        timeout,
        max_timeout,
        idle_timeout: limit(&section, "idle_timeout"),
        queue_timeout: limit(&section, "queue_timeout"),
        no_worker_timeout: limit(&section, "no_worker_timeout"),
        max_age: limit(&section, "max_age"),
        interrupt_grace: up_to(&section, "interrupt_grace", Duration::from_secs(3600))
            .unwrap_or(INTERRUPT_GRACE),
        terminate_grace: up_to(&section, "terminate_grace", Duration::from_secs(3600))
            .unwrap_or(TERMINATE_GRACE),
        progress: read_progress(&section),
        artifacts: read_artifacts(&section),
        task: section.choice("task", &TASK_MODES),
        retention: retention(&section),
        order,
        serving: Serving {
            detach_after: detach_after(&section),
            heartbeat: heartbeat(&section),
            on_disconnect: section
                .choice("on_disconnect", &[("detach", OnDisconnect::Detach)])
                .unwrap_or_default(),
            ..Serving::default()
        },
        repeatable: section.boolean("repeatable").unwrap_or(false),
        requires: worker_labels(&section, "requires").unwrap_or_default(),
        confirm: section.boolean("confirm").unwrap_or(false),
        annotations: read_annotations(&section),
        labels: labels::read(&section),
    };
    if tool.confirm && tool.task == Some(TaskSupport::Forbidden) {
        section.wrong(
            "confirm",
            "asks in a task, and this tool is never one; give it another `task`",
        );
    }
    if tool.task == Some(TaskSupport::Forbidden) {
        let of_tasks = order::KEYS.iter().chain(&["requires"]);
        // These order what others say, and alone say nothing.
        let of_tasks = of_tasks
            .filter(|key| !["priority", "hold_while_suspended", "key_window"].contains(key));
        for key in of_tasks.filter(|key| section.has(key)) {
            section.wrong(
                key,
                "holds for tasks, and this tool is never one; give it another `task`",
            );
        }
    }
    for argument in &tool.arguments {
        if let Some(default) = &argument.default
            && argument.check(default).is_ok()
            && let Err(error) = expand::check_default(argument, default)
        {
            section.wrong(&format!("arguments.{}.default", argument.name), error);
        }
    }
    Some(tool)
}

fn check_name(parent: &Section<'_>, name: &str, span: Range<usize>) {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !fits {
        let message = "not a name for a tool; allowed: letters, digits, _, - and ., at most 64 \
                       (clients refuse others)";
        parent.wrong_at(span, name, message);
    } else if HELPERS.contains(&name) {
        parent.wrong_at(
            span,
            name,
            "the server has a tool of this name itself; choose another",
        );
    }
}

fn read_arguments(section: &Section<'_>, folder: &Path) -> Vec<Argument> {
    let Some((span, table)) = section.table("arguments") else {
        return Vec::new();
    };
    let inner = Section::free(section.key("arguments"), span, table, section.problems());
    let arguments: Vec<Argument> = inner
        .entries()
        .filter_map(|(name, span, node)| argument::read(&inner, name, span, node, folder))
        .collect();
    let mut variables = BTreeMap::new();
    for argument in &arguments {
        let variable = expand::variable(&argument.name);
        if let Some(other) = variables.insert(variable.clone(), argument.name.clone()) {
            inner.wrong(
                &argument.name,
                format!("arrives in shell scripts as {variable}, and so does {other}; rename one"),
            );
        }
    }
    arguments
}

fn read_timeouts(section: &Section<'_>) -> (Option<Duration>, Option<Duration>) {
    let timeout = limit(section, "timeout");
    let max_timeout = limit(section, "max_timeout");
    if let Some((timeout, most)) = timeout.zip(max_timeout)
        && timeout > most
    {
        let (timeout, most) = (duration::format(timeout), duration::format(most));
        section.wrong(
            "timeout",
            format!("{timeout} is longer than max_timeout, {most}"),
        );
    }
    (timeout, max_timeout)
}

/// A list of tags.
pub(super) fn tags(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let tags = section.strings(key)?.into_iter();
    let fitting = tags.filter_map(|(tag, span)| {
        let fits = !tag.is_empty() && tag.trim() == tag && !tag.contains(',');
        if !fits {
            let message =
                format!("{tag:?} is no tag; write a word, without a comma or outer spaces");
            section.wrong_at(span, key, message);
        }
        fits.then_some(tag)
    });
    Some(fitting.collect())
}

/// Labels of workers.
pub(super) fn worker_labels(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let labels = section.strings(key)?.into_iter();
    let fitting = labels.filter_map(|(label, span)| {
        let read = outlast_engine::worker_label(&label);
        read.map_err(|problem| section.wrong_at(span, key, problem))
            .ok()
    });
    Some(fitting.collect())
}

fn read_progress(section: &Section<'_>) -> Vec<ProgressPattern> {
    let mut patterns = Vec::new();
    for (text, span) in section.strings("progress").unwrap_or_default() {
        match ProgressPattern::new(&text) {
            Ok(pattern) => patterns.push(pattern),
            Err(PatternError::Regex(error)) => {
                section.wrong_at(span, "progress", regex_message(&error));
            }
            Err(error) => section.wrong_at(span, "progress", error.to_string()),
        }
    }
    patterns
}

fn read_artifacts(section: &Section<'_>) -> Vec<String> {
    let patterns = section.strings("artifacts").unwrap_or_default();
    let forbidden = section.string("task").as_deref() == Some("forbidden");
    if forbidden && !patterns.is_empty() {
        section.wrong(
            "artifacts",
            "files are kept with a task, and task = \"forbidden\" has none",
        );
    }
    let mut artifacts = Vec::new();
    for (pattern, span) in patterns {
        match artifacts::check(&pattern) {
            Ok(()) => artifacts.push(pattern),
            Err(message) => section.wrong_at(span, "artifacts", message),
        }
    }
    artifacts
}

fn read_log_file(section: &Section<'_>) -> Option<PathBuf> {
    let text = section.text("log_file")?;
    if text.contains(['{', '}', '\0']) {
        section.wrong(
            "log_file",
            "a fixed path is needed, without placeholders; relative to the working folder",
        );
        return None;
    }
    Some(text.into())
}

fn read_annotations(section: &Section<'_>) -> BTreeMap<String, bool> {
    let Some((span, table)) = section.table("annotations") else {
        return BTreeMap::new();
    };
    let inner = Section::open(
        section.key("annotations"),
        span,
        table,
        section.problems(),
        &ANNOTATIONS,
    );
    ANNOTATIONS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), inner.boolean(name)?)))
        .collect()
}
