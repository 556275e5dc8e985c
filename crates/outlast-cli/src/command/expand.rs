//! From the arguments of a call to the words of a command, so that no value can become more than
//! one word, an option, or a path outside its folder.
//!
//! Arguments come from a model that may have read them in a hostile text. The rules:
//! - a value never changes how a command is split into words, and no shell sees it as program text;
//! - a word that begins with a value must not begin with `-`, unless the argument says
//!   `allow_dash = true` or the author listed that very value in `enum`;
//! - a path (`format = "path"`) has no `..`, and lies below `root` also when symbolic links are
//!   followed; it is passed on as an absolute path;
//! - NUL bytes are refused everywhere.
//!
//! With `shell = true` each argument is an environment variable: `ARG_` and the name in capitals,
//! `-` written as `_`. An argument that was not given is not set; a boolean is `true` or `false`; a
//! list has one item a line, and items with a line break are refused. The rule about `-` holds for
//! these too: in a script `grep "$ARG_TEXT"` would be as open to options as a word.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{Argument, CommandTool, Piece, Program, Template, Word, name_of, whole};

/// The longest single word or variable that Linux passes to a program, with its final NUL byte.
const LONGEST_WORD: usize = 128 * 1024;

/// What is to be executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables to be set beside those that are inherited.
    pub env: Vec<(String, String)>,
    /// Further ones, which hold secrets and are never written down.
    pub secret_env: Vec<(String, String)>,
    /// The working folder.
    pub working_dir: PathBuf,
}

/// Arguments that a tool does not take. The message is for the caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ArgumentError {
    /// The argument, if one is to blame.
    pub argument: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl ArgumentError {
    fn of(name: &str, message: impl std::fmt::Display) -> Self {
        Self {
            argument: Some(name.to_owned()),
            message: format!("argument {name} {message}"),
        }
    }
}

/// A value ready for use in words.
#[derive(Clone, Debug)]
struct Item {
    text: String,
    /// May stand at the beginning of a word although it begins with `-`.
    dash: bool,
}

/// What a call gave for an argument.
#[derive(Clone, Debug)]
enum Given {
    One(Item),
    Flag(bool),
    Many(Vec<Item>),
}

type Values<'a> = BTreeMap<&'a str, Given>;

/// The environment variable in which a script finds the argument.
#[must_use]
pub fn variable(argument: &str) -> String {
    format!("ARG_{}", argument.to_ascii_uppercase().replace('-', "_"))
}

/// Checks arguments and turns them into a command.
///
/// # Errors
/// The first argument that is unknown, missing, of the wrong type, against its rules or unsafe.
pub fn expand(
    tool: &CommandTool,
    arguments: &Map<String, Value>,
) -> Result<Invocation, ArgumentError> {
    let values = values(tool, arguments)?;
    let is_secret = |name: &str| {
        let argument = tool.arguments.iter().find(|known| known.name == name);
        argument.is_some_and(|known| known.secret)
    };
    let (mut env, mut secret_env) = (Vec::new(), Vec::new());
    for (name, template) in &tool.env {
        let to = if template.arguments().any(is_secret) {
            &mut secret_env
        } else {
            &mut env
        };
        if let Some(text) = render_text(template, &values) {
            to.push((name.clone(), text));
        }
    }
    let argv = match &tool.program {
        Program::Words(words) => {
            let mut argv = Vec::new();
            for word in words {
                push_word(word, tool, &values, &mut argv)?;
            }
            argv
        }
        Program::Shell(script) => {
            for (name, given) in &values {
                let to = if is_secret(name) {
                    &mut secret_env
                } else {
                    &mut env
                };
                to.push((variable(name), shell_value(name, given)?));
            }
            // The last word is `$0`: the shell's own messages begin with it.
            vec![
                "/bin/sh".into(),
                "-c".into(),
                script.clone(),
                tool.name.clone(),
            ]
        }
    };
    let longest = argv.iter().map(String::len).chain(
        env.iter()
            .chain(&secret_env)
            .map(|(n, v)| n.len() + v.len() + 1),
    );
    if longest.max().is_some_and(|length| length >= LONGEST_WORD) {
        return Err(ArgumentError {
            argument: None,
            message: format!(
                "an argument is too long for a command; at most {} bytes",
                LONGEST_WORD - 1
            ),
        });
    }
    Ok(Invocation {
        argv,
        env,
        secret_env,
        working_dir: tool.working_dir.clone(),
    })
}

/// Whether a default passes the rules that do not depend on the state of the disk.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_default(argument: &Argument, default: &Value) -> Result<(), String> {
    let items = match default {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    };
    for value in items {
        let text = text_of(value);
        if argument.rules().root.is_some() {
            path_below(argument, &text).map_err(|error| format!("{value} {error}"))?;
        } else if text.starts_with('-') && !dash_allowed(argument, value) {
            return Err(format!(
                "{value} begins with -; set allow_dash = true if the command is safe with it"
            ));
        }
    }
    Ok(())
}

fn values<'a>(
    tool: &'a CommandTool,
    arguments: &Map<String, Value>,
) -> Result<Values<'a>, ArgumentError> {
    if let Some(unknown) = arguments
        .keys()
        .find(|key| !tool.arguments.iter().any(|known| known.name == **key))
    {
        let known: Vec<&str> = tool
            .arguments
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        let allowed = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(ArgumentError::of(
            unknown,
            format!("is unknown; allowed: {allowed}"),
        ));
    }
    let mut values = Values::new();
    for argument in &tool.arguments {
        let name = argument.name.as_str();
        let Some(value) = arguments.get(name).or(argument.default.as_ref()) else {
            if argument.required {
                return Err(ArgumentError::of(name, "is missing"));
            }
            continue;
        };
        argument
            .check(value)
            .map_err(|message| ArgumentError::of(name, message))?;
        let given = match value {
            Value::Bool(flag) => Given::Flag(*flag),
            Value::Array(items) => Given::Many(
                items
                    .iter()
                    .map(|value| item(argument, value))
                    .collect::<Result<_, _>>()?,
            ),
            value => Given::One(item(argument, value)?),
        };
        values.insert(name, given);
    }
    Ok(values)
}

fn item(argument: &Argument, value: &Value) -> Result<Item, ArgumentError> {
    let mut text = text_of(value);
    if text.contains('\0') {
        return Err(ArgumentError::of(
            &argument.name,
            "has a NUL byte, which is refused",
        ));
    }
    if argument.rules().root.is_some() {
        let fail = |message| ArgumentError::of(&argument.name, message);
        let (path, root) = path_below(argument, &text).map_err(fail)?;
        stays_below(&path, &root).map_err(fail)?;
        text = path
            .into_os_string()
            .into_string()
            .map_err(|_| ArgumentError::of(&argument.name, "leads to a path that is not UTF-8"))?;
    }
    Ok(Item {
        text,
        dash: dash_allowed(argument, value),
    })
}

fn dash_allowed(argument: &Argument, value: &Value) -> bool {
    argument.allow_dash || argument.rules().is_choice(value)
}

/// The text of a scalar: whole numbers without a fraction, strings as they are.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => whole(value).map_or_else(|| value.to_string(), |number| number.to_string()),
    }
}

/// The absolute path that `text` names below the argument's root, judged by the text alone.
fn path_below(argument: &Argument, text: &str) -> Result<(PathBuf, PathBuf), String> {
    let root = argument.rules().root.clone().unwrap_or_default();
    let outside = || format!("must be a path below {}, without \"..\"", root.display());
    let path = Path::new(text);
    if text.is_empty() || path.components().any(|part| part == Component::ParentDir) {
        return Err(outside());
    }
    // Collecting the components drops `.` and doubled slashes.
    let root: PathBuf = root
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let full: PathBuf = root
        .join(path)
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    if !full.starts_with(&root) {
        return Err(outside());
    }
    Ok((full, root))
}

/// Follows the symbolic links of the part of `path` that exists and sees where it ends.
///
/// A link that is made after this look is not seen; who can write below the root while commands
/// run can do more than that anyway.
fn stays_below(path: &Path, root: &Path) -> Result<(), String> {
    let real_root = root
        .canonicalize()
        .map_err(|error| format!("cannot be used: the folder {}: {error}", root.display()))?;
    for part in path.ancestors().take_while(|part| part.starts_with(root)) {
        // A dangling link exists without having a real path.
        if std::fs::symlink_metadata(part).is_err() {
            continue;
        }
        return match part.canonicalize() {
            Ok(real) if real.starts_with(&real_root) => Ok(()),
            Ok(_) => Err(format!(
                "leads out of {} through a symbolic link",
                root.display()
            )),
            Err(error) => Err(format!("cannot be used: {}: {error}", part.display())),
        };
    }
    Ok(())
}

/// Appends what becomes of one element of the command.
fn push_word(
    word: &Word,
    tool: &CommandTool,
    values: &Values<'_>,
    argv: &mut Vec<String>,
) -> Result<(), ArgumentError> {
    let list = word.arguments().into_iter().find(|name| {
        tool.arguments
            .iter()
            .any(|known| known.name == **name && known.is_list())
    });
    let Some(list) = list else {
        argv.extend(render_word(word, values)?.into_iter().flatten());
        return Ok(());
    };
    let Some(Given::Many(items)) = values.get(list) else {
        return Ok(());
    };
    let mut bound = values.clone();
    for item in items {
        if let Some(slot) = bound.get_mut(list) {
            *slot = Given::One(item.clone());
        }
        argv.extend(render_word(word, &bound)?.into_iter().flatten());
    }
    Ok(())
}

/// The words that an element becomes; `None` where it is left out.
fn render_word(word: &Word, values: &Values<'_>) -> Result<Option<Vec<String>>, ArgumentError> {
    match word {
        Word::Template(template) => {
            let Some(text) = render_text(template, values) else {
                return Ok(None);
            };
            refuse_option(template, values, &text)?;
            Ok(Some(vec![text]))
        }
        Word::Switch { argument, text } => {
            let on = matches!(values.get(argument.as_str()), Some(Given::Flag(true)));
            Ok(on.then(|| vec![text.clone()]))
        }
        Word::Group(words) => {
            let mut all = Vec::new();
            for word in words {
                match render_word(word, values)? {
                    Some(words) => all.extend(words),
                    None => return Ok(None),
                }
            }
            Ok(Some(all))
        }
    }
}

/// The text with its values; `None` where one was not given.
fn render_text(template: &Template, values: &Values<'_>) -> Option<String> {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Value(name) => match values.get(name.as_str())? {
                Given::One(item) => text.push_str(&item.text),
                Given::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
                // Lists are bound item by item before, and refused elsewhere when the file is read.
                Given::Many(_) => return None,
            },
        }
    }
    Some(text)
}

/// Refuses a word that begins with a value and with `-`.
fn refuse_option(
    template: &Template,
    values: &Values<'_>,
    text: &str,
) -> Result<(), ArgumentError> {
    if !text.starts_with('-') {
        return Ok(());
    }
    for piece in &template.0 {
        let name = match piece {
            Piece::Text(_) => return Ok(()),
            Piece::Value(name) => name,
        };
        match values.get(name.as_str()) {
            Some(Given::One(item)) if item.text.is_empty() => {}
            Some(Given::One(item)) if item.dash => return Ok(()),
            _ => return Err(dash_refused(name)),
        }
    }
    Ok(())
}

fn dash_refused(name: &str) -> ArgumentError {
    ArgumentError::of(
        name,
        "must not begin with \"-\": the command could take it for an option",
    )
}

fn shell_value(name: &str, given: &Given) -> Result<String, ArgumentError> {
    let safe = |item: &Item| {
        if item.text.starts_with('-') && !item.dash {
            Err(dash_refused(name))
        } else {
            Ok(())
        }
    };
    match given {
        Given::Flag(flag) => Ok(flag.to_string()),
        Given::One(item) => {
            safe(item)?;
            Ok(item.text.clone())
        }
        Given::Many(items) => {
            for item in items {
                safe(item)?;
                if item.text.contains('\n') {
                    return Err(ArgumentError::of(
                        name,
                        "has an item with a line break, which a script could not tell from two",
                    ));
                }
            }
            let lines: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
            Ok(lines.join("\n"))
        }
    }
}

/// The arguments of a call as an object.
///
/// # Errors
/// When they are something else.
pub fn as_object(arguments: &Value) -> Result<Map<String, Value>, ArgumentError> {
    match arguments {
        Value::Object(object) => Ok(object.clone()),
        Value::Null => Ok(Map::new()),
        other => Err(ArgumentError {
            argument: None,
            message: format!("the arguments must be an object, not {}", name_of(other)),
        }),
    }
}

#[cfg(test)]
mod tests;
