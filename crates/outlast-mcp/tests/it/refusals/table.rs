//! Every method, what it takes, and what it must not take.

use serde_json::{Value, json};

/// What a member of the parameters is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    /// Names something that there may not be.
    Name,
    /// A list of texts.
    Texts,
    Object,
    Whole,
    Switch,
}
use Kind::{Name, Object, Switch, Text, Texts, Whole};

/// A member: what it is called, what it is, and whether the method cannot do without it.
pub(super) type Member = (&'static str, Kind, bool);

/// A method of one or both eras, and parameters that it takes.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) legacy: bool,
    pub(super) modern: bool,
    pub(super) members: &'static [Member],
    pub(super) good: Value,
    /// What is wrong deeper inside: values that do not fit, by member.
    deeper: Vec<(&'static str, Value)>,
}

impl Method {
    fn wrong(mut self, member: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        let values = values.into_iter().map(|value| (member, value));
        self.deeper.extend(values);
        self
    }

    /// Parameters that the method must refuse: each is the good ones but for one member.
    pub(super) fn bad(&self) -> Vec<Value> {
        let with = |member: &str, value: Value| {
            let mut params = self.good.clone();
            params[member] = value;
            params
        };
        let mut bad = Vec::new();
        for (member, kind, required) in self.members {
            if *required {
                let mut without = self.good.clone();
                without.as_object_mut().unwrap().remove(*member);
                bad.push(without);
            }
            bad.extend(
                wrong(*kind, *required)
                    .into_iter()
                    .map(|value| with(member, value)),
            );
        }
        let deeper = self.deeper.iter();
        bad.extend(deeper.map(|(member, value)| with(member, value.clone())));
        bad
    }
}

fn both(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        name,
        legacy: true,
        modern: true,
        members,
        good,
        deeper: Vec::new(),
    }
}

fn legacy(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        modern: false,
        ..both(name, members, good)
    }
}

fn modern(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        legacy: false,
        ..both(name, members, good)
    }
}

const CURSOR: &[Member] = &[("cursor", Text, false)];
const TASK: &[Member] = &[("taskId", Name, true)];
const URI: &[Member] = &[("uri", Name, true)];
const CALL: &[Member] = &[("name", Name, true), ("arguments", Object, false)];

/// What everybody may who is let in, and what takes an administrator or one who is known.
pub(super) fn methods(running: &str, ended: &str) -> Vec<Method> {
    let mut all = open_methods(running, ended);
    all.extend(known_methods());
    all
}

/// Methods for callers that can be told apart, and for administrators.
fn known_methods() -> Vec<Method> {
    let none = || json!({});
    vec![
        legacy("tasks/list", CURSOR, none()).wrong(
            "cursor",
            ["", "1", "nothing", "AAAAAAAAAAAAAAAA"].map(Value::from),
        ),
        both(
            "outlast/tasks",
            &[
                ("standings", Texts, false),
                ("phases", Texts, false),
                ("tool", Text, false),
                ("labels", Object, false),
                ("text", Text, false),
                ("createdBefore", Text, false),
                ("updatedBefore", Text, false),
                ("oldestFirst", Switch, false),
                ("limit", Whole, false),
                ("cursor", Text, false),
            ],
            json!({"standings": ["working"], "phases": ["running"], "tool": "endless", "labels": {"a": "b"},
                "text": "x", "createdBefore": "2026-07-28T00:00:00Z",
                "updatedBefore": "2026-07-28T00:00:00Z", "oldestFirst": false, "limit": 1}),
        )
        .wrong("phases", [json!(["walking"])])
        .wrong("text", [json!("x".repeat(201)), json!("")])
        .wrong("updatedBefore", [json!("2026-13-01T00:00:00Z")]),
        both(
            "outlast/delete",
            &[("taskIds", Texts, true)],
            json!({"taskIds": ["7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f"]}),
        )
        .wrong("taskIds", [json!(vec!["x"; 501])]),
        both(
            "outlast/pause",
            &[("tool", Name, false), ("paused", Switch, true)],
            json!({"tool": "endless", "paused": true}),
        ),
        both("outlast/schedules", &[], none()),
        both(
            "outlast/schedule",
            &[("name", Name, true), ("action", Text, true)],
            json!({"name": "nightly", "action": "show"}),
        )
        .wrong("action", ["", "SHOW", "delete"].map(Value::from)),
    ]
}

/// Every method that needs no administrator. `running` is a task that has not ended, `ended` one that has.
fn open_methods(running: &str, ended: &str) -> Vec<Method> {
    let none = || json!({});
    let reference = json!({"ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "who", "value": "a"}});
    vec![
        both("tools/list", CURSOR, none()),
        both("prompts/list", CURSOR, none()),
        both("resources/list", CURSOR, none()),
        both("resources/templates/list", CURSOR, none()),
        both(
            "tools/call",
            CALL,
            json!({"name": "counts", "arguments": {}}),
        ),
        both(
            "prompts/get",
            CALL,
            json!({"name": "greet", "arguments": {"who": "x"}}),
        )
        .wrong(
            "arguments",
            [
                json!({"who": 7}),
                json!({"who": null}),
                json!({"who": ["x"]}),
                json!({}),
                json!({"other": "x"}),
            ],
        ),
        both("resources/read", URI, json!({"uri": "plain://one"})),
        both(
            "completion/complete",
            &[
                ("ref", Object, true),
                ("argument", Object, true),
                ("context", Object, false),
            ],
            reference,
        )
        .wrong(
            "ref",
            [
                json!({"type": "ref/prompt"}),
                json!({"type": "ref/prompt", "name": 7}),
                json!({"type": "ref/unheard", "name": "greet"}),
                json!({"type": "ref/resource", "name": "greet"}),
                json!({"name": "greet"}),
            ],
        )
        .wrong(
            "argument",
            [
                json!({"name": "who"}),
                json!({"value": "a"}),
                json!({"name": "who", "value": 7}),
                json!({"name": 7, "value": "a"}),
                json!({"name": ["who"], "value": "a"}),
            ],
        )
        .wrong(
            "context",
            [
                json!({"arguments": []}),
                json!({"arguments": "x"}),
                json!({"arguments": {"who": 7}}),
            ],
        ),
        both("tasks/get", TASK, json!({"taskId": ended})),
        both("tasks/cancel", TASK, json!({"taskId": running})),
        both(
            "outlast/logs",
            &[
                ("taskId", Name, true),
                ("offset", Whole, false),
                ("limit", Whole, false),
            ],
            json!({"taskId": ended, "offset": 0, "limit": 10}),
        ),
        both(
            "outlast/signal",
            &[
                ("taskId", Name, true),
                ("name", Text, true),
                ("id", Text, false),
            ],
            json!({"taskId": running, "name": "hint"}),
        ),
        both(
            "outlast/share",
            &[
                ("taskId", Name, true),
                ("with", Text, true),
                ("may", Text, false),
            ],
            json!({"taskId": ended, "with": "user:bob", "may": "read"}),
        )
        .wrong(
            "with",
            ["group:".to_owned(), "x".repeat(1025)].map(Value::from),
        )
        .wrong("may", ["write", "READ", ""].map(Value::from)),
        both("outlast/retry", TASK, json!({"taskId": ended})),
        both("outlast/overview", &[], none()),
        // Without users only what a task has started is listed over HTTP.
        both(
            "outlast/tasks",
            &[
                ("parent", Name, false),
                ("limit", Whole, false),
                ("oldestFirst", Switch, false),
            ],
            json!({"parent": running, "limit": 5, "oldestFirst": true}),
        )
        .wrong("limit", [json!(0), json!(501), json!(u64::MAX)])
        .wrong(
            "standings",
            [json!("working"), json!(["wörking"]), json!([7])],
        )
        .wrong("labels", [json!([]), json!({"a": 1}), json!("a")])
        .wrong("createdBefore", [json!("yesterday"), json!(7)])
        .wrong("cursor", [json!("x"), json!(-1), json!(1e300)]),
        legacy("ping", &[], none()),
        legacy(
            "logging/setLevel",
            &[("level", Text, true)],
            json!({"level": "info"}),
        )
        .wrong("level", ["loud", "INFO", " info"].map(Value::from)),
        legacy("resources/subscribe", URI, json!({"uri": "plain://one"})),
        // To end what was never begun is no mistake.
        legacy(
            "resources/unsubscribe",
            &[("uri", Text, true)],
            json!({"uri": "plain://one"}),
        ),
        legacy("tasks/result", TASK, json!({"taskId": ended})),
        modern("server/discover", &[], none()),
        modern(
            "tasks/update",
            &[("taskId", Name, true), ("inputResponses", Object, true)],
            json!({"taskId": running, "inputResponses": {}}),
        ),
        modern(
            "subscriptions/listen",
            &[("notifications", Object, true)],
            json!({"notifications": {"taskIds": [ended]}}),
        )
        .wrong(
            "notifications",
            [
                json!({"taskIds": ended}),
                json!({"taskIds": [7]}),
                json!({"taskIds": {"0": ended}}),
                json!({"toolsListChanged": "yes"}),
                json!({"resourceSubscriptions": [7]}),
                json!({"resourceSubscriptions": "plain://one"}),
            ],
        ),
    ]
}

/// Values that are not of this kind.
fn wrong(kind: Kind, required: bool) -> Vec<Value> {
    let all = [
        json!("text"),
        json!(""),
        json!(true),
        json!(7),
        json!(1e300),
        json!([]),
        json!([1]),
        json!({"a": 1}),
    ];
    let is_of = |value: &Value| match kind {
        Text | Name => value.is_string(),
        Texts => value == &json!([]),
        Object => value.is_object(),
        Whole => value.is_u64(),
        Switch => value.is_boolean(),
    };
    let mut wrong: Vec<Value> = all.into_iter().filter(|value| !is_of(value)).collect();
    match kind {
        Whole => wrong.extend([json!(-1), json!(1.5)]),
        // What there is not is refused like what is no name at all.
        Name => {
            let names = [
                "",
                " ",
                "nothing",
                "\u{0}",
                "ünbekannt",
                "%00",
                "../..",
                "=?base64?x?=",
            ];
            wrong.extend(names.map(Value::from));
        }
        Texts => wrong.extend([json!([null]), json!(["working", 7])]),
        Text | Object | Switch => {}
    }
    if required {
        wrong.push(Value::Null);
    }
    wrong
}
