//! Holds what the server sends to the official JSON Schemas of its protocol version.
//!
//! The fixtures of the integration tests, here and in the facade, show every message that they read to a
//! [`Conversation`], so a test that looks at one member of an answer has the rest of it checked too.
//! `scripts/setup` installs the schemas: those of 2025-11-25 and 2026-07-28 as the specification
//! publishes them, those of the tasks extension from its package. For older revisions no package carries
//! them: their messages are held to 2025-11-25, which took nothing away that a server sends. Where the
//! schemas are missing nothing is checked and the tests say so; in CI (`CI` set) they fail.
//!
//! What the schemas do not know is held to what they say of every message: our own methods (`outlast/…`)
//! and results of methods that they do not name.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

static OFFICIAL: LazyLock<Option<Official>> = LazyLock::new(Official::load);

/// What a client has asked, as far as the answers depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: String,
    /// The older era: whether it wished for a task.
    task: bool,
    modern: bool,
}

impl Asked {
    /// A message of a client. `None` if it is no request.
    pub(crate) fn of(message: &Value) -> Option<(String, Self)> {
        let id = message.get("id")?.to_string();
        let params = &message["params"];
        let asked = Self {
            method: message["method"].as_str()?.to_owned(),
            task: params.get("task").is_some(),
            modern: params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28",
        };
        Some((id, asked))
    }
}

/// One connection, or one request and its response: what was asked, and the era that is spoken.
#[derive(Clone, Default, Debug)]
pub(crate) struct Conversation {
    asked: HashMap<String, Asked>,
    modern: bool,
}

impl Conversation {
    /// The client sends this, which need not be a message.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(bytes) else {
            return;
        };
        let batch = message.as_array().cloned();
        for message in batch.unwrap_or_else(|| vec![message]) {
            if let Some((id, asked)) = Asked::of(&message) {
                // What belongs to no request speaks what was spoken last.
                self.modern = asked.modern;
                self.asked.insert(id, asked);
            }
        }
    }

    /// The server has sent this.
    ///
    /// # Panics
    /// The schema of this conversation's version has something against it.
    pub(crate) fn receives(&self, message: &Value) {
        let Some(official) = &*OFFICIAL else { return };
        if let Some(batch) = message.as_array() {
            batch.iter().for_each(|message| self.receives(message));
            return;
        }
        let asked = message.get("id").map(Value::to_string);
        let asked = asked.and_then(|id| self.asked.get(&id));
        let modern = asked.map_or(self.modern, |asked| asked.modern);
        if let Err(complaint) = official.complaint(modern, asked, message) {
            panic!("not as the schema has it: {complaint}\nin {message}");
        }
    }
}

struct Official {
    legacy: Revision,
    modern: Revision,
    extension: Revision,
}

impl Official {
    fn load() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps");
        let read = |name: &str| std::fs::read(folder.join(name)).ok();
        let (Some(legacy), Some(modern), Some(extension)) = (
            read("schemas/2025-11-25.json"),
            read("schemas/2026-07-28.json"),
            read("extension-schemas.json"),
        ) else {
            let message = "the official schemas are not installed (scripts/setup all)";
            assert!(std::env::var_os("CI").is_none(), "{message}");
            eprintln!("SKIPPED: {message}; messages are not held to them");
            return None;
        };
        let definitions = |bytes: &[u8]| {
            let mut schema: Value = serde_json::from_slice(bytes).unwrap();
            schema["$defs"].take()
        };
        let mut legacy = definitions(&legacy);
        // The published schema of 2025-11-25 says `integer` where its source says `number`; 2026-07-28
        // has it right, and the official suite itself asks a server for 95.5.
        legacy["NumberSchema"]["properties"]["default"]["type"] = "number".into();
        let extension = serde_json::from_slice(&extension).unwrap();
        Some(Self {
            legacy: Revision::new(legacy),
            modern: Revision::new(definitions(&modern)),
            extension: Revision::new(extension),
        })
    }

    fn complaint(
        &self,
        modern: bool,
        asked: Option<&Asked>,
        message: &Value,
    ) -> Result<(), String> {
        let revision = if modern { &self.modern } else { &self.legacy };
        if let Some(method) = message.get("method") {
            let method = method.as_str().unwrap_or_default();
            let ending = match message.get("id") {
                None => "Notification",
                Some(_) => "Request",
            };
            if modern && method == "notifications/tasks" {
                return self.extension.check("TaskStatusNotification", message);
            }
            let name = revision.named(method, ending);
            let name = name.ok_or_else(|| format!("it knows no {ending} {method:?}"))?;
            return revision.check(&name, message);
        }
        if message.get("error").is_some() {
            return revision.check("JSONRPCErrorResponse", message);
        }
        revision.check("JSONRPCResultResponse", message)?;
        let result = &message["result"];
        let Some(Asked { method, task, .. }) = asked else {
            // A stream was resumed: the request went another way.
            return Ok(());
        };
        let extension = |name: &str| {
            // It builds on this one.
            revision.check("Result", result)?;
            self.extension.check(name, result)
        };
        match (modern, method.as_str()) {
            (true, "tasks/get") => {
                extension("GetTaskResult")?;
                match result.get("result") {
                    // What a call would have been answered with says as a result of its own that it is whole.
                    Some(inner) => {
                        let mut inner = inner.clone();
                        inner["resultType"] = "complete".into();
                        revision.check("CallToolResult", &inner)
                    }
                    None => Ok(()),
                }
            }
            (true, "tasks/update") => extension("UpdateTaskResult"),
            (true, "tasks/cancel") => extension("CancelTaskResult"),
            (true, _) if result["resultType"] == "task" => extension("CreateTaskResult"),
            (true, _) if result["resultType"] == "input_required" => {
                revision.check("InputRequiredResult", result)
            }
            (false, "tools/call") if *task && result.get("task").is_some() => {
                revision.check("CreateTaskResult", result)
            }
            // It answers what the call would have been answered with that became the task.
            (_, "tasks/result") => revision.check("CallToolResult", result),
            (_, method) => {
                let name = revision.named(method, "Request");
                let name =
                    name.and_then(|name| Some(format!("{}Result", name.strip_suffix("Request")?)));
                // Some results have no members, and no definition of their own.
                let name = name.filter(|name| revision.has(name));
                revision.check(name.as_deref().unwrap_or("Result"), result)
            }
        }
    }
}

/// The schema of one revision, compiled definition by definition when it is needed.
struct Revision {
    definitions: Map<String, Value>,
    compiled: Mutex<HashMap<String, &'static Validator>>,
}

impl Revision {
    fn new(definitions: Value) -> Self {
        let Value::Object(definitions) = definitions else {
            panic!("a schema's definitions are an object");
        };
        Self {
            definitions,
            compiled: Mutex::default(),
        }
    }

    fn has(&self, definition: &str) -> bool {
        self.definitions.contains_key(definition)
    }

    /// The definition whose method is this one and whose name ends like that.
    fn named(&self, method: &str, ending: &str) -> Option<String> {
        let fits = |(name, schema): &(&String, &Value)| {
            name.ends_with(ending) && schema["properties"]["method"]["const"] == method
        };
        self.definitions
            .iter()
            .find(fits)
            .map(|(name, _)| name.clone())
    }

    fn check(&self, definition: &str, value: &Value) -> Result<(), String> {
        let validator = *self
            .compiled
            .lock()
            .unwrap()
            .entry(definition.to_owned())
            .or_insert_with(|| Box::leak(Box::new(self.compile(definition))));
        let errors: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{definition}{}: {error}", error.instance_path()))
            .collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.join("; "))
    }

    /// The definition with those that it leads to, and no other: there are many.
    fn compile(&self, definition: &str) -> Validator {
        let mut needed = BTreeSet::new();
        let mut open = vec![definition.to_owned()];
        while let Some(name) = open.pop() {
            if needed.insert(name.clone()) {
                let schema = self.definitions.get(&name);
                let schema = schema.unwrap_or_else(|| panic!("no definition {name}"));
                references(schema, &mut open);
            }
        }
        let definitions: Map<String, Value> = needed
            .into_iter()
            .map(|name| (name.clone(), self.definitions[&name].clone()))
            .collect();
        let schema = json!({"$ref": format!("#/$defs/{definition}"), "$defs": definitions});
        jsonschema::draft202012::new(&schema).unwrap()
    }
}

/// Adds the names of the definitions that a schema refers to.
fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/$defs/"))
                {
                    Some(name) if key == "$ref" => names.push(name.to_owned()),
                    _ => references(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// What is broken must be seen.
#[test]
fn a_broken_message_does_not_pass() {
    let Some(official) = &*OFFICIAL else { return };
    let asked = |method: &str, modern| Asked {
        method: method.into(),
        task: false,
        modern,
    };
    let said =
        |asked: Asked, message: Value| official.complaint(asked.modern, Some(&asked), &message);
    let response = |result: Value| json!({"jsonrpc": "2.0", "id": 1, "result": result});
    let list = json!({"tools": [{"name": "x", "inputSchema": {"type": "object"}}]});
    assert_eq!(
        said(asked("tools/list", false), response(list.clone())),
        Ok(())
    );
    // The newer era wants three members more.
    let complaint = said(asked("tools/list", true), response(list.clone())).unwrap_err();
    assert!(complaint.contains("resultType"), "{complaint}");
    for (path, value) in [
        ("/tools/0/name", json!(7)),
        ("/tools/0/inputSchema", json!({"type": "string"})),
        ("/tools", json!({})),
        ("/nextCursor", json!(null)),
    ] {
        let mut broken = list.clone();
        match broken.pointer_mut(path) {
            Some(place) => *place = value,
            None => broken["nextCursor"] = value,
        }
        said(asked("tools/list", false), response(broken)).expect_err(path);
    }
    let task = json!({"resultType": "complete", "taskId": "t", "status": "working", "ttlMs": null,
        "createdAt": "2026-07-28T00:00:00Z", "lastUpdatedAt": "2026-07-28T00:00:00Z"});
    assert_eq!(
        said(asked("tasks/get", true), response(task.clone())),
        Ok(())
    );
    for member in [
        "resultType",
        "taskId",
        "status",
        "ttlMs",
        "createdAt",
        "lastUpdatedAt",
    ] {
        let mut broken = task.clone();
        broken.as_object_mut().unwrap().remove(member);
        said(asked("tasks/get", true), response(broken)).expect_err(member);
    }
    // The same as the fixtures do it.
    let mut conversation = Conversation::default();
    conversation.sends(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    conversation.receives(&response(list));
    let broken = response(json!({"tools": [{}]}));
    std::panic::catch_unwind(|| conversation.receives(&broken)).unwrap_err();
    for broken in [
        json!({"jsonrpc": "2.0", "method": "notifications/unheard"}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": ""}}),
        json!({"jsonrpc": "1.0", "id": 1, "result": {}}),
        json!({"id": 1, "result": {}}),
    ] {
        said(asked("ping", false), broken.clone()).expect_err(&broken.to_string());
    }
}
