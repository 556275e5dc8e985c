use std::path::Path;
use std::time::Duration;

use outlast_engine::TaskSupport;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<FileConfig, ConfigError> {
    FileConfig::parse(Path::new("outlast.toml"), Path::new("/etc/outlast"), text)
}

fn message(text: &str) -> String {
    match parse(text) {
        Err(error) => error.to_string(),
        Ok(config) => panic!("accepted: {config:?}"),
    }
}

fn one_tool(text: &str) -> CommandTool {
    let config = parse(text).unwrap_or_else(|error| panic!("{error}"));
    config.tools.into_iter().next().unwrap()
}

#[test]
fn the_sample_is_complete_and_the_repository_ships_it() {
    let config = parse(SAMPLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.tools.len(), 3);
    let names: Vec<_> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        ["count", "word_count", "find_files"],
        "in the order of the file"
    );
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../outlast.toml");
    // Absent where only this crate was unpacked.
    if let Ok(shipped) = std::fs::read_to_string(shipped) {
        assert_eq!(
            shipped, SAMPLE,
            "copy src/config/sample.toml to outlast.toml"
        );
    }
}

/// The reference names every key, and its examples are good.
#[test]
fn the_reference_is_true() {
    let reference = include_str!("reference.md");
    let keys = [
        &server::KEYS[..],
        &tool::KEYS,
        &order::KEYS,
        &argument::KEYS,
        &schedule::KEYS,
    ]
    .concat();
    for key in keys {
        assert!(
            reference.contains(&format!("`{key}`")),
            "{key} is not in reference.md"
        );
    }
    let examples: Vec<&str> = reference
        .split("```toml")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 2);
    for example in examples {
        parse(example).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_sample_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    write_sample(&path).unwrap();
    FileConfig::load(&path).unwrap();
    std::fs::write(&path, "# mine").unwrap();
    assert_eq!(
        write_sample(&path).unwrap_err().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine");
}

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
fn every_mistake_is_told_at_once_with_its_line() {
    let text = r#"[server]
name = "x"
listn = "127.0.0.1:1"
task = "sometimes"

[tools.run_tests]
description = "d"
command = ["run", "{pakage}"]
timeot = "2h"
progress = ["("]

[tools.run_tests.arguments.package]
type = "string"
"#;
    let message = message(text);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 6, "{message}");
    assert!(
        lines[0].starts_with(
            "outlast.toml:3: server.listn: unknown key; did you mean \"listen\"?; allowed: name, "
        ),
        "{message}"
    );
    assert_eq!(
        lines[1],
        "outlast.toml:4: server.task: \"sometimes\" is not possible; allowed: forbidden, \
         optional, required"
    );
    assert!(
        lines[2].starts_with(
            "outlast.toml:8: tools.run_tests.command: {pakage} is no argument of this tool; did \
             you mean {package}?; allowed: {package}"
        ),
        "{message}"
    );
    assert!(lines[3].contains("package is used nowhere"), "{message}");
    assert!(
        lines[4].starts_with(
            "outlast.toml:9: tools.run_tests.timeot: unknown key; did you mean \"timeout\"?; \
             allowed: title, description, "
        ),
        "{message}"
    );
    assert!(
        lines[5].starts_with("outlast.toml:10: tools.run_tests.progress: not a valid regular"),
        "{message}"
    );
}

/// Lines inside a minimal tool, and what must be said about them.
#[test]
fn impossible_values_are_named() {
    for (line, part) in [
        (
            "timeout = 60",
            "tools.t.timeout: an integer where a duration such as",
        ),
        ("timeout = \"60\"", "\"60\" is not a duration"),
        ("timeout = \"0s\"", "no time at all"),
        (
            "timeout = \"2h\"\nmax_timeout = \"1h\"",
            "2h is longer than max_timeout, 1h",
        ),
        ("timeout = \"31d\"", "31d is too long; at most 30d"),
        ("retention = \"60d\"", "at most 30d"),
        (
            "log_file = \"{x}.log\"",
            "tools.t.log_file: a fixed path is needed",
        ),
        (
            "task = \"forbidden\"\nmax_running = 1",
            "tools.t.max_running: holds for tasks",
        ),
        (
            "own_folder = true\nworking_dir = \"x\"",
            "tools.t.own_folder: each run has a working folder of its own",
        ),
        (
            "max_memory = \"512\"",
            "\"512\" is not a size; allowed: 8MiB to",
        ),
        ("max_memory = 512", "an integer where a string is needed"),
        ("max_memory = \"1MiB\"", "\"1MiB\" is out of range"),
        ("max_output = \"10\"", "allowed: 1KiB to"),
        ("max_output = \"0KiB\"", "\"0KiB\" is out of range"),
        ("max_cpu_time = \"1500ms\"", "counted in whole seconds"),
        ("max_processes = 0", "0 would let nothing run"),
        (
            "inherit_env = [\"A=B\"]",
            "\"A=B\" is not a name for a variable",
        ),
        (
            "inherit_env = \"PATH\"",
            "a string where true, false or a list of names is needed",
        ),
        (
            "artifacts = [\"../x\"]",
            "tools.t.artifacts: \"../x\" does not stay below the working folder",
        ),
        (
            "repeatable = \"yes\"",
            "a string where true or false is needed",
        ),
        ("progress = ['\\d+']", "no named group; allowed: (?P<done>"),
        (
            "progress = ['(?P<step>\\d+)']",
            "unknown group \"step\"; allowed: done, total",
        ),
        ("progress = 'x'", "a string where a list is needed"),
        ("progress = [1]", "an integer in a list of strings"),
        (
            "annotations = { readonly = true }",
            "tools.t.annotations.readonly: unknown key",
        ),
        (
            "env = { OUTLAST_X = \"1\" }",
            "tools.t.env.OUTLAST_X: commands see no OUTLAST_",
        ),
        ("env = { X = 1 }", "an integer where a string is needed"),
        (
            "env = { X = \"{a}\" }",
            "{a} is no argument of this tool; the tool has no arguments",
        ),
        ("working_dir = \"\"", "empty; write a text"),
        ("arguments = 1", "an integer where a table is needed"),
        (
            "arguments.a = \"string\"",
            "a string where a table is needed, for example { type",
        ),
        (
            "arguments.a = {}",
            "tools.t.arguments.a.type: missing; allowed: string, integer",
        ),
        (
            "arguments.a = { type = \"text\" }",
            "\"text\" is not possible; allowed: string",
        ),
        (
            "arguments.a = { type = \"string\", minimum = 1 }",
            "only for numbers",
        ),
        (
            "arguments.a = { type = \"integer\", pattern = \"x\" }",
            "only for strings",
        ),
        (
            "arguments.a = { type = \"string\", pattern = \"(\" }",
            "not a valid regular expression",
        ),
        (
            "arguments.a = { type = \"string\", root = \".\" }",
            "only together with format",
        ),
        (
            "arguments.a = { type = \"string\", format = \"uri\" }",
            "allowed: path",
        ),
        (
            "arguments.a = { type = \"integer\", minimum = 3, maximum = 2 }",
            "larger than maximum",
        ),
        (
            "arguments.a = { type = \"string\", min_length = -1 }",
            "out of range",
        ),
        (
            "arguments.a = { type = \"string\", enum = [] }",
            "empty; list the possible values",
        ),
        (
            "arguments.a = { type = \"string\", enum = [1] }",
            "1 must be a string, not a number",
        ),
        (
            "arguments.a = { type = \"string\", enum = [\"x\"], default = \"y\" }",
            "must be one of",
        ),
        (
            "arguments.a = { type = \"integer\", default = \"y\" }",
            "\"y\" must be an integer",
        ),
        (
            "arguments.a = { type = \"integer\", default = nan }",
            "JSON cannot express",
        ),
        (
            "arguments.a = { type = \"string\", default = \"x\", required = true }",
            "leave one",
        ),
        (
            "arguments.a = { type = \"string\", default = \"-x\" }",
            "set allow_dash = true",
        ),
        (
            "arguments.a = { type = \"string\", format = \"path\", default = \"../x\" }",
            "below",
        ),
        (
            "arguments.a = { type = \"array\" }",
            "arguments.a.items: missing",
        ),
        (
            "arguments.a = { type = \"array\", items = \"array\" }",
            "\"array\" is not possible",
        ),
        (
            "arguments.a = { type = \"array\", items = \"string\", pattern = \"x\" }",
            "items = {",
        ),
        (
            "arguments.a = { type = \"string\", max_items = 1 }",
            "only for type = \"array\"",
        ),
        (
            "arguments.a = { type = \"string\", secrett = true }",
            "unknown key",
        ),
        (
            "arguments.\"a b\" = { type = \"string\" }",
            "not a name for an argument",
        ),
        (
            "arguments = { a-b = { type = \"string\" }, a_b = { type = \"string\" } }",
            "ARG_A_B",
        ),
        ("title = \" \"", "empty"),
        ("shell = true", "a list where shell = true needs a string"),
    ] {
        let text = format!("[tools.t]\ndescription = \"d\"\ncommand = [\"p\"]\n{line}\n");
        let message = message(&text);
        assert!(message.contains(part), "{line}: {message}");
        assert!(
            message
                .lines()
                .all(|line| line.starts_with("outlast.toml:")),
            "{message}"
        );
    }
}

#[test]
fn impossible_commands_are_named() {
    let arguments = r#"
[tools.t.arguments]
s = { type = "string", required = false }
f = { type = "boolean", required = false }
l = { type = "array", items = "string", required = false }
m = { type = "array", items = "string", required = false }
"#;
    for (line, part) in [
        ("", "tools.t.command: missing; write a list such as"),
        ("shell = true", "missing; write a script"),
        (
            "command = \"ls -l\"",
            "a script for the shell needs shell = true",
        ),
        ("command = []", "empty; write the program"),
        ("command = [\"\"]", "first word is the program"),
        (
            "command = [\"{s}\"]",
            "first word is the program and must be fixed",
        ),
        (
            "command = [\"p\", 1]",
            "an integer in a list of words; write it in quotes",
        ),
        ("command = [\"p\", \"{s\"]", "double it"),
        (
            "command = [\"p\", \"{s:--x}\"]",
            "is a switch, and s is not a boolean",
        ),
        ("command = [\"p\", \"{l}{m}\"]", "two lists in one word"),
        (
            "command = [\"p\", [\"-x\"]]",
            "a group without a placeholder",
        ),
        ("command = [\"p\", [[\"{s}\"]]]", "a group inside a group"),
        (
            "command = [\"p\", \"{s}\", \"{f}\", \"{l}\"]",
            "the argument m is used nowhere",
        ),
        ("command = [\"p\", \"{x}\"]", "allowed: {s}, {f}, {l}, {m}"),
        (
            "command = [\"p\"]\nenv = { A = \"{l}\" }",
            "a variable holds one value",
        ),
        (
            "shell = true\ncommand = \"echo {s}\"",
            "write \"$ARG_S\" instead of {s}",
        ),
        ("shell = true\ncommand = \" \"", "not a script"),
        (
            "command = true",
            "a boolean where a list of words is needed",
        ),
    ] {
        let text = format!("[tools.t]\ndescription = \"d\"\n{line}\n{arguments}");
        let message = message(&text);
        assert!(message.contains(part), "{line}: {message}");
    }
    // The shell's own braces are not ours.
    parse("[tools.t]\ndescription = \"d\"\nshell = true\ncommand = 'echo ${s}; { true; }'\narguments.s.type = \"string\"")
        .unwrap();
}

#[test]
fn impossible_servers_and_files_are_named() {
    for (text, part) in [
        (
            "[server]\nlisten = \"9876\"",
            "outlast.toml:2: server.listen: \"9876\" is not an address",
        ),
        (
            "[server]\nlisten = \"localhost:99999\"",
            "is not an address",
        ),
        (
            "[server]\nstore = \"postgres://x\"",
            "allowed: sqlite:PATH or redis://HOST",
        ),
        (
            "[server]\nstore = \"sqlite::memory:\"",
            "allowed: sqlite:PATH or redis://HOST",
        ),
        ("[server]\nlease = \"1s\"", "2s to 1h"),
        ("[server]\nworker_labels = [\"a b\"]", "region=eu"),
        ("[server]\nhealth = \"9877\"", "IP:PORT"),
        ("[server]\nconcurrency = -1", "out of range"),
        (
            "[server]\nlog_level = \"verbose\"",
            "allowed: off, error, warn",
        ),
        (
            "[sever]",
            "outlast.toml:1: sever: unknown key; did you mean \"server\"?",
        ),
        (
            "tools = 1",
            "outlast.toml:1: tools: an integer where a table is needed",
        ),
        (
            "[tools]\nx = 1",
            "outlast.toml:2: tools.x: an integer where a table is needed",
        ),
        (
            "[tools.\"a b\"]\ndescription = \"d\"\ncommand = [\"p\"]",
            "not a name for a tool",
        ),
        (
            "[tools.task_wait]\ndescription = \"d\"\ncommand = [\"p\"]",
            "choose another",
        ),
        (
            "[tools.t]\ncommand = [\"p\"]",
            "outlast.toml:1: tools.t.description: missing",
        ),
        ("a = 1\na = 2", "outlast.toml:2: not TOML: duplicate key"),
        ("\n\n[server\n", "outlast.toml:3: not TOML: "),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn settings_are_read_and_paths_resolved() {
    let config = parse(
        r#"[server]
name = "team"
listen = "localhost:9876"
store = "sqlite:data/o.db"
task = "required"
retention = "2d"
concurrency = 4
synchronous = "normal"
idle_exit = "5m"
allowed_hosts = ["box.local"]
log_level = "debug"
shutdown_grace = "10s"
lease = "5s"
no_worker_timeout = "7d"
worker_labels = ["gpu", "region=eu"]
health = "127.0.0.1:9877"
"#,
    )
    .unwrap();
    let expected = ServerConfig {
        name: Some("team".into()),
        listen: Some("localhost:9876".into()),
        store: Some("sqlite:/etc/outlast/data/o.db".into()),
        task: Some(TaskSupport::Required),
        retention: Some(Duration::from_secs(2 * 86400)),
        concurrency: Some(4),
        synchronous: Some("normal"),
        idle_exit: Some(Duration::from_secs(300)),
        allowed_hosts: Some(vec!["box.local".into()]),
        log_level: Some("debug"),
        shutdown_grace: Some(Duration::from_secs(10)),
        lease: Some(Duration::from_secs(5)),
        no_worker_timeout: Some(Duration::from_secs(7 * 86400)),
        worker_labels: Some(vec!["gpu".into(), "region=eu".into()]),
        health: Some("127.0.0.1:9877".parse().unwrap()),
        ..ServerConfig::default()
    };
    assert_eq!(config.server, expected);
    assert_eq!(parse("").unwrap().server, ServerConfig::default());
    let absolute = parse("[server]\nstore = \"sqlite:/var/o.db\"").unwrap();
    assert_eq!(absolute.server.store.as_deref(), Some("sqlite:/var/o.db"));
    parse("[server]\nlisten = \"[::1]:0\"").unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let missing = FileConfig::load(&folder.path().join("none.toml"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none.toml: cannot be read") && missing.contains("outlast init"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(
        FileConfig::load(&binary)
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
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
fn what_is_wrong_about_order_is_told() {
    let message = message(
        r#"
        [tools.run]
        description = "Runs."
        command = ["run"]
        priority = 101
        max_running = 0
        limit_key = "session"
        rate = "often"
        same = "jion"
        debounce = "5s"
        "#,
    );
    for told in [
        "priority",
        "101 is out of range; allowed: -100 to 100",
        "max_running",
        "0 would let nothing run",
        "\"session\" is no argument of this tool; the tool has none",
        "\"often\" is no rate",
        "jion",
    ] {
        assert!(message.contains(told), "{told} is not in:\n{message}");
    }
}

const BACKUP: &str = "[tools.backup]\ndescription = \"x\"\ncommand = [\"true\"]\n";

/// The same with arguments.
const TAKES: &str = "[tools.backup]\ndescription = \"x\"\ncommand = [\"true\", \"{n}\"]\n\
    env = { WORD = \"{word}\" }\n[tools.backup.arguments]\n\
    n = { type = \"array\", items = \"integer\", required = false }\n\
    word = { type = \"string\", secret = true, required = false }\n";

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

#[test]
fn a_schedule_is_read_whole() {
    let text = format!(
        "{TAKES}[schedules.nightly]\ntool = \"backup\"\narguments = {{ n = [1, 2] }}\n\
         cron = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"\nstart = 2026-12-01T00:00:00Z\n\
         end = \"2027-12-01T00:00:00+01:00\"\ncatch_up = \"all\"\noverlap = \"queue\"\n\
         priority = 7\nlabels = {{ team = \"x\" }}\nowner = \"alice\"\n[schedules.backup]\nevery = \"1h\"\n"
    );
    let config = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let wanted = NewSchedule::cron("30 2 * * *")
        .time_zone("Europe/Berlin")
        .call("backup", &json!({"n": [1, 2]}))
        .named("nightly")
        .start("2026-12-01T00:00:00Z".parse().unwrap())
        .end("2027-11-30T23:00:00Z".parse().unwrap())
        .catch_up(outlast::CatchUp::All)
        .overlap(outlast::Overlap::Queue)
        .priority(7)
        .label("team", "x")
        .owner(outlast_core::Owner::new("alice"));
    let hourly = NewSchedule::every(Duration::from_secs(3600)).call("backup", &json!({}));
    assert_eq!(config.schedules, [wanted, hourly]);
}

#[test]
fn what_a_schedule_cannot_hold_is_told_with_its_place() {
    let wrong = [
        ("every = \"1h\"\ncron = \"* * * * *\"", "keep one"),
        ("tool = \"backup\"", "says nowhere when"),
        (
            "every = \"10ms\"",
            "schedules.backup.every: the interval 10ms is too short",
        ),
        (
            "cron = \"61 * * * *\"",
            "schedules.backup.cron: the cron pattern",
        ),
        ("cron = \"0 0 30 2 *\"", "never comes true"),
        (
            "cron = \"0 7 * * *\"\ntime_zone = \"Mars\"",
            "schedules.backup.time_zone: there is no time zone \"Mars\"",
        ),
        ("every = \"1h\"\ntime_zone = \"UTC\"", "means nothing"),
        ("every = \"1h\"\ntool = \"nothing\"", "no tool of this file"),
        ("every = \"1h\"\nstart = \"tomorrow\"", "no moment"),
        ("every = \"1h\"\ncatch_up = \"all\"", "overlap"),
        (
            "every = \"1h\"\ncatch_up = \"some\"",
            "allowed: skip, one, all",
        ),
        ("every = \"1h\"\narguments = 3", "no table"),
        ("every = \"1h\"\nlabels = { schedule = \"x\" }", "label"),
        ("every = \"1h\"\nevry = 1", "evry"),
    ];
    for (lines, part) in wrong {
        let said = message(&format!("{BACKUP}[schedules.backup]\n{lines}\n"));
        assert!(
            said.contains(part) && said.contains("schedules.backup"),
            "{said}"
        );
    }
    let wrong = [
        ("{ n = [1, \"x\"] }", "refuses them: argument n item 1"),
        ("{ m = 1 }", "refuses them: argument m is unknown"),
        ("{ word = \"x\" }", "word is secret"),
    ];
    for (arguments, part) in wrong {
        let said = message(&format!(
            "{TAKES}[schedules.backup]\nevery = \"1h\"\n\
             arguments = {arguments}\n"
        ));
        let place = "schedules.backup.arguments";
        assert!(said.contains(part) && said.contains(place), "{said}");
    }
    let never = [
        format!("{BACKUP}task = \"forbidden\"\n"),
        format!("[server]\ntask = \"forbidden\"\n{BACKUP}"),
    ];
    for file in never {
        let said = message(&format!("{file}[schedules.backup]\nevery = \"1h\"\n"));
        assert!(said.contains("never runs as a task"), "{said}");
    }
}

#[test]
fn what_users_would_find_of_one_another_is_warned_of() {
    let users = "[auth]\ntokens = \"tokens\"\n";
    let socket = "[server]\nlisten = \"unix:s\"\n";
    let tool = "[tools.t]\ndescription = \"d\"\ncommand = [\"p\"]\n";
    for (before, more, expected) in [
        (
            users,
            "artifacts = [\"out/*\"]",
            Some("tools.t.artifacts: "),
        ),
        (users, "log_file = \"app.log\"", Some("tools.t.log_file: ")),
        (socket, "log_file = \"app.log\"", Some("tools.t.log_file: ")),
        // Nobody else is there; nothing is shared; one at a time.
        ("", "log_file = \"app.log\"", None),
        (users, "", None),
        (users, "log_file = \"app.log\"\nown_folder = true", None),
        (users, "artifacts = [\"out/*\"]\nmax_running = 1", None),
        (
            users,
            "log_file = \"a\"\nmax_running = 2",
            Some("tools.t.log_file: "),
        ),
        (
            users,
            "log_file = \"a\"\nmax_running_per_owner = 1",
            Some("tools.t.log_file: "),
        ),
    ] {
        let config = parse(&format!("{before}{tool}{more}\n"));
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        match (config.warnings().as_slice(), expected) {
            ([], None) => {}
            ([warning], Some(expected)) if warning.starts_with(expected) => {}
            other => panic!("{more}: {other:?}"),
        }
    }
}
