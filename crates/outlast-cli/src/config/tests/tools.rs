//! Tools as they are read, and the schemas of their arguments.

use std::path::Path;
use std::time::Duration;

use outlast_engine::TaskSupport;
use serde_json::json;

use super::super::*;
use super::{BACKUP, message, one_tool, parse};

#[test]
fn a_tool_is_read_whole() {
    let tool = one_tool(
        r#"
[tools.run_tests]
description = "Run the test suite of one package."
command = ["./run", "--package", "{package}"]
task = "required"
timeout = "2h"
max_timeout = "1d"
retention = "7d"
repeatable = true
working_dir = "sub"
env = { A = "b", B = "{package}!" }
progress = ['(?P<done>\d+) of (?P<total>\d+)', '(?P<percent>\d+)%']
annotations = { readOnlyHint = true, openWorldHint = false }
interrupt_grace = "1s"

[tools.run_tests.arguments.package]
type = "string"
description = "Name of the package."
default = "outlast-core"
"#,
    );
    assert_eq!(tool.name, "run_tests");
    assert_eq!(tool.task, Some(TaskSupport::Required));
    assert_eq!(tool.timeout, Some(Duration::from_secs(7200)));
    assert_eq!(tool.retention, Some(Duration::from_secs(7 * 86400)));
    assert_eq!(tool.working_dir, Path::new("/etc/outlast/sub"));
    assert_eq!(tool.interrupt_grace, Duration::from_secs(1));
    assert_eq!(tool.terminate_grace, Duration::from_secs(5));
    assert_eq!(tool.version, "1");
    assert!(tool.repeatable && !tool.confirm);
    assert_eq!(tool.progress.len(), 2);
    assert!(tool.annotations["readOnlyHint"]);
    let Program::Words(words) = &tool.program else {
        panic!("not words")
    };
    assert_eq!(
        words[0],
        Word::parse("/etc/outlast/run").unwrap(),
        "found from the file"
    );
    assert_eq!(
        tool.input_schema(),
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "package": {
                    "type": "string",
                    "description": "Name of the package.",
                    "default": "outlast-core",
                }
            },
            "additionalProperties": false,
        })
    );
}

#[test]
fn schemas_hold_every_rule_and_are_valid() {
    let tool = one_tool(
        r#"
[tools.t]
description = "d"
command = ["p", "{a}", "{b}", "{c}", "{d}", "{e}"]
[tools.t.arguments]
a = { type = "string", title = "A", min_length = 1, max_length = 9, pattern = "^x", description = "text" }
b = { type = "integer", minimum = -1, maximum = 0x10 }
c = { type = "number", enum = [1, 2.5], default = 2.5 }
d = { type = "boolean", required = false }
e = { type = "array", items = { type = "string", enum = ["x", "y"] }, min_items = 1, max_items = 3, required = false }
"#,
    );
    let schema = tool.input_schema();
    assert_eq!(schema["required"], json!(["a", "b"]));
    let properties = json!({
        "a": { "type": "string", "title": "A", "minLength": 1, "maxLength": 9, "pattern": "^x", "description": "text" },
        "b": { "type": "integer", "minimum": -1, "maximum": 16 },
        "c": { "type": "number", "enum": [1, 2.5], "default": 2.5 },
        "d": { "type": "boolean" },
        "e": { "type": "array", "items": { "type": "string", "enum": ["x", "y"] }, "minItems": 1, "maxItems": 3 },
    });
    assert_eq!(schema["properties"], properties);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(validator.is_valid(&json!({"a": "x", "b": 16, "c": 1, "e": ["x"]})));
    assert!(!validator.is_valid(&json!({"a": "x", "b": 17})));
    assert!(!validator.is_valid(&json!({"a": "x", "b": 1, "other": 1})));
}

/// What the schema accepts is what the program accepts, for values that no safety rule concerns.
#[test]
fn schema_and_check_agree() {
    let tool = one_tool(
        r#"
[tools.t]
description = "d"
command = ["p", "x{s}", "x{i}", "x{n}", "x{b}", "x{l}"]
[tools.t.arguments]
s = { type = "string", min_length = 2, max_length = 3, pattern = "[a-c]", required = false }
i = { type = "integer", minimum = -2, maximum = 2, required = false }
n = { type = "number", enum = [1, 2.5], required = false }
b = { type = "boolean", required = false }
l = { type = "array", items = { type = "integer", maximum = 3 }, max_items = 2, required = false }
"#,
    );
    let validator = jsonschema::draft202012::new(&tool.input_schema()).unwrap();
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2),
        json!(2.5),
        json!(-2),
        json!(-3),
        json!(3),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("a"),
        json!("ab"),
        json!("éa"),
        json!("abcd"),
        json!("xy"),
        json!([]),
        json!([1]),
        json!([1, 2.0]),
        json!([4]),
        json!([1, 2, 3]),
        json!(["a"]),
        json!({}),
    ];
    for argument in &tool.arguments {
        for value in &values {
            let call = json!({ argument.name.clone(): value });
            let ours = argument.check(value);
            assert_eq!(validator.is_valid(&call), ours.is_ok(), "{call}: {ours:?}");
        }
    }
}

#[test]
fn callers_may_ask_for_time_up_to_the_limit() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let mut tool = one_tool("[tools.t]\ndescription = \"d\"\ncommand = [\"p\"]");
    assert_eq!(tool.timeout_for(None), Ok(None));
    assert_eq!(tool.timeout_for(hours(5)), Ok(hours(5)));
    assert!(
        tool.timeout_for(hours(31 * 24))
            .unwrap_err()
            .contains("1ms to 30d")
    );
    tool.timeout = hours(2);
    assert_eq!(tool.timeout_for(None), Ok(hours(2)));
    assert_eq!(tool.timeout_for(hours(1)), Ok(hours(1)));
    assert!(
        tool.timeout_for(hours(3))
            .unwrap_err()
            .contains("1ms to 2h")
    );
    tool.max_timeout = hours(4);
    assert_eq!(tool.timeout_for(hours(4)), Ok(hours(4)));
    assert!(tool.timeout_for(hours(5)).is_err());
    assert!(tool.timeout_for(Some(Duration::ZERO)).is_err());
}

proptest::proptest! {
    /// Whatever stands in a file, the answer is a configuration or a message, never a panic.
    #[test]
    fn any_text_is_answered(text in "(\\[(server|tools\\.[a-z\\.]{1,9})\\]\n|[a-z_]{1,12} = (1|-1|true|\"[^\"\n]{0,9}\"|\\[\\]|\\{\\}|1979-05-27)\n){0,9}") {
        if let Err(error) = parse(&text) {
            proptest::prop_assert!(error.to_string().starts_with("outlast.toml:"));
        }
    }
}

#[test]
fn a_tool_says_when_its_tasks_run() {
    use outlast_engine::Per;
    let tool = one_tool(
        r#"
        [tools.run]
        description = "Runs code in a session."
        command = ["run", "{session}"]
        priority = -5
        max_running = 8
        limit_key = "session"
        hold_while_suspended = true
        rate = "10/min burst 2"
        max_queued_per_owner = 20
        debounce = "5s"
        same_key = "session"
        key_window = "1h"
        [tools.run.arguments.session]
        type = "string"
        "#,
    );
    let order = tool.order;
    assert_eq!(order.priority, -5);
    let limits: Vec<_> = order.limits.iter().map(|one| (one.max, &one.per)).collect();
    assert!(matches!(limits[0], (8, Per::Tool)));
    assert!(matches!(limits[1], (1, Per::Argument(path)) if path == "session"));
    assert!(order.limits.iter().all(|one| one.while_suspended));
    assert_eq!(order.rates[0].0.to_string(), "10/min burst 2");
    assert!(matches!(order.quotas[0], (20, Per::Owner)));
    assert_eq!(order.key_window, Some(Duration::from_secs(3600)));
    assert!(order.same.is_some_and(|same| same.per.is_some()));
}

#[test]
fn labels_of_a_tool_are_read_and_checked() {
    let tool = one_tool(&format!(
        "{BACKUP}labels = {{ team = \"ops\", \"cost centre\" = \"42\" }}\n"
    ));
    let labels: Vec<_> = tool.labels.iter().collect();
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let wanted = [label("cost centre", "42"), label("team", "ops")];
    assert_eq!(
        labels,
        wanted.iter().map(|(k, v)| (k, v)).collect::<Vec<_>>()
    );
    let wrong = [
        ("labels = 3", "tools.backup.labels", "a table"),
        (
            "labels = { team = 3 }",
            "tools.backup.labels.team",
            "a string",
        ),
        (
            "labels = { \"\" = \"x\" }",
            "tools.backup.labels",
            "1 to 64 bytes",
        ),
    ];
    let said = |line: &str| message(&format!("{BACKUP}{line}\n"));
    for (line, place, part) in wrong {
        let said = said(line);
        assert!(said.contains(place) && said.contains(part), "{said}");
    }
    let long = said(&format!("labels = {{ team = \"{}\" }}", "x".repeat(257)));
    assert!(
        long.contains("tools.backup.labels.team") && long.contains("256 bytes"),
        "{long}"
    );
    let labels = |count: usize| -> String {
        let labels: Vec<_> = (0..count).map(|n| format!("l{n} = \"x\"")).collect();
        format!("labels = {{ {} }}", labels.join(", "))
    };
    let many = said(&labels(33));
    assert!(many.contains("there are 33 labels"), "{many}");
    // A schedule adds two of its own to those of the tool.
    let many = said(&format!(
        "{}\n[schedules.backup]\nevery = \"1h\"",
        labels(31)
    ));
    assert!(
        many.contains("schedules.backup") && many.contains("there are 33 labels"),
        "{many}"
    );
}
