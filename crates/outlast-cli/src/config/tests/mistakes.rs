//! What is wrong about a tool is told, with its place.

use super::{message, parse};

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
            "retention = \"0s\"",
            "nobody could fetch a result; at least 1s",
        ),
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
