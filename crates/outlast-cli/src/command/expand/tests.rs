use serde_json::json;

use super::*;
use crate::config::FileConfig;

fn tool_in(folder: &Path, text: &str) -> CommandTool {
    let text = format!("[tools.t]\ndescription = \"d\"\n{text}");
    let config = FileConfig::parse(Path::new("outlast.toml"), folder, &text)
        .unwrap_or_else(|error| panic!("{error}"));
    config.tools.into_iter().next().unwrap()
}

fn tool(text: &str) -> CommandTool {
    tool_in(Path::new("/nowhere"), text)
}

fn argv(tool: &CommandTool, arguments: Value) -> Result<Vec<String>, String> {
    expand(tool, &as_object(&arguments).unwrap())
        .map(|invocation| invocation.argv)
        .map_err(|error| error.to_string())
}

#[test]
fn every_value_stays_one_word() {
    let tool = tool(
        "command = [\"echo\", \"{text}\", \"--name={text}\"]\narguments.text.type = \"string\"",
    );
    for text in [
        "a b", "$(id)", "`id`", "a;b", "a\nb", "'", "\"", "*", "{text}", "", "é",
    ] {
        assert_eq!(
            argv(&tool, json!({ "text": text })).unwrap(),
            ["echo".to_owned(), text.to_owned(), format!("--name={text}")]
        );
    }
}

#[test]
fn a_word_that_is_a_value_is_no_option() {
    let strict = tool(
        r#"command = ["grep", "{a}{b}", "--x={a}"]
        arguments = { a = { type = "string" }, b = { type = "string", default = "" } }"#,
    );
    assert!(
        argv(&strict, json!({"a": "-r"}))
            .unwrap_err()
            .contains("argument a must not begin")
    );
    // An empty first value does not shield the second.
    assert!(
        argv(&strict, json!({"a": "", "b": "-r"}))
            .unwrap_err()
            .contains("argument b")
    );
    assert_eq!(
        argv(&strict, json!({"a": "r", "b": "-r"})).unwrap()[1],
        "r-r"
    );

    let free = tool(
        r#"command = ["grep", "{a}"]
        arguments.a = { type = "string", allow_dash = true }"#,
    );
    assert_eq!(argv(&free, json!({"a": "-r"})).unwrap(), ["grep", "-r"]);

    let listed = tool(
        r#"command = ["cc", "{o}"]
        arguments.o = { type = "string", enum = ["-O2", "-O3"] }"#,
    );
    assert_eq!(argv(&listed, json!({"o": "-O3"})).unwrap(), ["cc", "-O3"]);

    let number = tool(
        r#"command = ["head", "{n}"]
        arguments.n = { type = "integer" }"#,
    );
    assert!(argv(&number, json!({"n": -5})).is_err());

    let list = tool(
        r#"command = ["rm", "{f}"]
        arguments.f = { type = "array", items = "string" }"#,
    );
    assert!(argv(&list, json!({"f": ["a", "-rf"]})).is_err());
}

#[test]
fn optional_words_switches_lists_and_groups() {
    let tool = tool(
        r#"command = ["p", "{v:--verbose}", "--pkg={pkg}", ["-j", "{jobs}"], ["-I", "{inc}"], "{files}", "--color={color}", ["{v:--level}", "3"]]
        [tools.t.arguments]
        v = { type = "boolean", default = false }
        pkg = { type = "string", required = false }
        jobs = { type = "integer", required = false }
        inc = { type = "array", items = "string", required = false }
        files = { type = "array", items = "string", default = ["x"] }
        color = { type = "boolean", required = false }"#,
    );
    assert_eq!(argv(&tool, json!({})).unwrap(), ["p", "x"]);
    assert_eq!(
        argv(
            &tool,
            json!({"v": true, "pkg": "a b", "jobs": 4.0, "inc": ["i", "k"], "files": [],
                   "color": false})
        )
        .unwrap(),
        [
            "p",
            "--verbose",
            "--pkg=a b",
            "-j",
            "4",
            "-I",
            "i",
            "-I",
            "k",
            "--color=false",
            "--level",
            "3"
        ]
    );
}

#[test]
fn wrong_arguments_are_named() {
    let tool = tool(
        r#"command = ["p", "{n}", "{s}", "{c}", "{l}"]
        [tools.t.arguments]
        n = { type = "integer", minimum = 1, maximum = 9 }
        s = { type = "string", min_length = 2, max_length = 3, pattern = "^[a-zä]+$", required = false }
        c = { type = "number", enum = [1, 2.5], required = false }
        l = { type = "array", items = { type = "integer", maximum = 3 }, min_items = 1, max_items = 2, required = false }"#,
    );
    for (arguments, part) in [
        (json!({}), "argument n is missing"),
        (
            json!({"n": 1, "m": 1}),
            "argument m is unknown; allowed: n, s, c, l",
        ),
        (
            json!({"n": "1"}),
            "argument n must be an integer, not a string",
        ),
        (json!({"n": 1.5}), "must be an integer"),
        (json!({"n": null}), "not null"),
        (json!({"n": 0}), "at least 1"),
        (json!({"n": 10}), "at most 9"),
        (json!({"n": 1, "s": "a"}), "at least 2 characters"),
        (json!({"n": 1, "s": "aaaa"}), "at most 3 characters"),
        (json!({"n": 1, "s": "A1"}), "must match the pattern"),
        (json!({"n": 1, "c": 3}), "must be one of 1, 2.5"),
        (json!({"n": 1, "l": []}), "at least 1 items"),
        (json!({"n": 1, "l": [1, 2, 3]}), "at most 2 items"),
        (json!({"n": 1, "l": [1, 4]}), "item 1 must be at most 3"),
        (json!({"n": 1, "l": 1}), "must be an array"),
    ] {
        let error = argv(&tool, arguments.clone()).unwrap_err();
        assert!(error.contains(part), "{arguments}: {error}");
    }
    assert!(argv(&tool, json!({"n": 1, "s": "äää", "c": 2.5, "l": [1]})).is_ok());
    assert!(
        as_object(&json!([]))
            .unwrap_err()
            .to_string()
            .contains("must be an object")
    );
}

#[test]
fn nul_and_endless_values_are_refused() {
    let tool = tool("command = [\"p\", \"x{s}\"]\narguments.s.type = \"string\"");
    assert!(
        argv(&tool, json!({"s": "a\0b"}))
            .unwrap_err()
            .contains("NUL")
    );
    assert!(
        argv(&tool, json!({"s": "a".repeat(200_000)}))
            .unwrap_err()
            .contains("too long")
    );
}

#[test]
fn paths_stay_below_their_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("sub/a.txt"), "a").unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("../not-there", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("sub/a.txt", root.join("inside")).unwrap();
    let tool = tool_in(
        folder.path(),
        r#"command = ["cat", "{f}"]
        arguments.f = { type = "string", format = "path", root = "data" }"#,
    );
    let full = |path: &str| root.join(path).display().to_string();
    for (given, path) in [
        ("sub/a.txt", "sub/a.txt"),
        ("./sub//a.txt", "sub/a.txt"),
        ("new.txt", "new.txt"),
        ("new/deep.txt", "new/deep.txt"),
        ("inside", "inside"),
        ("-rf", "-rf"),
    ] {
        assert_eq!(
            argv(&tool, json!({"f": given})).unwrap()[1],
            full(path),
            "{given}"
        );
    }
    assert_eq!(
        argv(&tool, json!({"f": full("sub/a.txt")})).unwrap()[1],
        full("sub/a.txt")
    );
    for bad in [
        "../secret",
        "sub/../../secret",
        "sub/../a",
        "/etc/passwd",
        "",
        "link",
        "up/secret",
        "up/new",
        "dangling",
    ] {
        assert!(argv(&tool, json!({"f": bad})).is_err(), "{bad}");
    }
    let sibling = format!("{}-evil/x", root.display());
    assert!(
        argv(&tool, json!({"f": sibling})).is_err(),
        "a prefix of the name is not below"
    );
}

#[test]
fn scripts_get_variables() {
    let tool = tool(
        r#"shell = true
        command = 'echo "$ARG_DRY_RUN"'
        env = { MODE = "m-{who}", GONE = "{list-of}" }
        [tools.t.arguments]
        who = { type = "string" }
        dry-run = { type = "boolean" }
        many = { type = "array", items = "string", required = false }
        list-of = { type = "string", required = false }"#,
    );
    let run = |arguments| {
        expand(&tool, &as_object(&arguments).unwrap()).map_err(|error| error.to_string())
    };
    let done = run(json!({"who": "$(id)", "dry-run": true, "many": ["a b", "c"]})).unwrap();
    assert_eq!(done.argv, ["/bin/sh", "-c", "echo \"$ARG_DRY_RUN\"", "t"]);
    let env: BTreeMap<_, _> = done.env.into_iter().collect();
    assert_eq!(env["ARG_WHO"], "$(id)");
    assert_eq!(env["ARG_DRY_RUN"], "true");
    assert_eq!(env["ARG_MANY"], "a b\nc");
    assert_eq!(env["MODE"], "m-$(id)");
    assert!(!env.contains_key("GONE") && !env.contains_key("ARG_LIST_OF"));
    assert!(
        run(json!({"who": "-x", "dry-run": true}))
            .unwrap_err()
            .contains("option")
    );
    assert!(run(json!({"who": "x", "dry-run": true, "many": ["a\nb"]})).is_err());
}

proptest::proptest! {
    /// Whatever the value, the command has the same number of words and none of them became an
    /// option.
    #[test]
    fn no_value_changes_the_shape(text in ".{0,30}") {
        let tool = tool("command = [\"p\", \"{s}\", \"--x={s}\", \"end\"]\narguments.s.type = \"string\"");
        match argv(&tool, json!({ "s": text })) {
            Ok(argv) => {
                proptest::prop_assert_eq!(argv.len(), 4);
                proptest::prop_assert!(!argv[1].starts_with('-'));
                proptest::prop_assert_eq!(&argv[1], &text);
            }
            Err(_) => proptest::prop_assert!(text.starts_with('-') || text.contains('\0')),
        }
    }
}
