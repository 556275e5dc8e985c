//! `command`, `shell` and `env` of a tool: what is run, and where its arguments go.
//!
//! No argument becomes part of a script, and no secret a word that other users of the machine can see.

use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use super::argument::{Argument, Type};
use super::problem::closest;
use super::resolve;
use super::section::{Node, Section, kind};
use super::template::{Piece, Template, Word};
use crate::command::expand;

/// What is run.
#[derive(Clone, Debug)]
pub enum Program {
    /// A program and its arguments, run without a shell.
    Words(Vec<Word>),
    /// A script for `/bin/sh`; arguments are in its environment as `ARG_NAME`.
    Shell(String),
}

pub(super) fn read_env(section: &Section<'_>, arguments: &[Argument]) -> Vec<(String, Template)> {
    let Some((span, table)) = section.table("env") else {
        return Vec::new();
    };
    let inner = Section::free(section.key("env"), span, table, section.problems());
    let mut env = Vec::new();
    for (name, key_span, node) in inner.entries() {
        if name.is_empty() || name.contains(['=', '\0']) {
            inner.wrong_at(key_span, name, "not a name for an environment variable");
            continue;
        }
        if name.starts_with("OUTLAST_") {
            let message = "commands see no OUTLAST_ variable; choose another name";
            inner.wrong_at(key_span, name, message);
            continue;
        }
        let Some(text) = node.get_ref().as_str() else {
            let message = format!("{} where a string is needed", kind(node.get_ref()));
            inner.wrong_at(node.span(), name, message);
            continue;
        };
        match Template::parse(text) {
            Ok(template) => {
                check_placeholders(&inner, name, node.span(), template.arguments(), arguments);
                for list in template.arguments().filter(|name| is_list(arguments, name)) {
                    let message = format!("{list} is a list, and a variable holds one value");
                    inner.wrong_at(node.span(), name, message);
                }
                env.push((name.to_owned(), template));
            }
            Err(message) => inner.wrong_at(node.span(), name, message),
        }
    }
    env
}

pub(super) fn read(
    section: &Section<'_>,
    arguments: &[Argument],
    folder: &Path,
) -> Option<Program> {
    let shell = section.boolean("shell").unwrap_or(false);
    let Some(node) = section.get("command") else {
        let example = if shell {
            "a script"
        } else {
            "a list such as [\"wc\", \"{file}\"]"
        };
        section.wrong("command", format!("missing; write {example}"));
        return None;
    };
    match (node.get_ref(), shell) {
        (DeValue::String(script), true) => read_script(section, script, arguments),
        (DeValue::Array(items), false) => {
            let words: Vec<Word> = items
                .iter()
                .filter_map(|item| read_word(section, item, arguments, true))
                .collect();
            if words.len() < items.len() {
                return None;
            }
            read_words(section, words, folder)
        }
        (DeValue::String(_), false) => {
            section.wrong(
                "command",
                "a string where a list is needed, for example [\"wc\", \"{file}\"]; a script for \
                 the shell needs shell = true",
            );
            None
        }
        (DeValue::Array(_), true) => {
            section.wrong(
                "command",
                "a list where shell = true needs a string, the script",
            );
            None
        }
        (other, _) => {
            section.wrong(
                "command",
                format!("{} where a list of words is needed", kind(other)),
            );
            None
        }
    }
}

fn read_script(section: &Section<'_>, script: &str, arguments: &[Argument]) -> Option<Program> {
    if script.trim().is_empty() || script.contains('\0') {
        section.wrong("command", "not a script; write what /bin/sh is to run");
        return None;
    }
    for argument in arguments {
        let placeholder = format!("{{{}}}", argument.name);
        // `${name}` is the shell's own, and names no argument of ours.
        let spliced = script
            .match_indices(&placeholder)
            .any(|(at, _)| !script[..at].ends_with('$'));
        if spliced {
            section.wrong(
                "command",
                format!(
                    "arguments are never spliced into a script; write \"${}\" instead of \
                     {placeholder}",
                    expand::variable(&argument.name)
                ),
            );
        }
    }
    Some(Program::Shell(script.to_owned()))
}

fn read_words(section: &Section<'_>, mut words: Vec<Word>, folder: &Path) -> Option<Program> {
    let Some(first) = words.first_mut() else {
        section.wrong("command", "empty; write the program and its arguments");
        return None;
    };
    match first {
        Word::Template(Template(pieces)) if matches!(pieces.as_slice(), [Piece::Text(_)]) => {
            // A program given by a relative path is found from the file, not from wherever the
            // server was started.
            if let [Piece::Text(program)] = pieces.as_mut_slice()
                && program.contains('/')
            {
                *program = resolve(folder, program).to_string_lossy().into_owned();
            }
            Some(Program::Words(words))
        }
        _ => {
            section.wrong(
                "command",
                "the first word is the program and must be fixed: no placeholder, not empty",
            );
            None
        }
    }
}

fn read_word(
    section: &Section<'_>,
    node: Node<'_>,
    arguments: &[Argument],
    groups: bool,
) -> Option<Word> {
    let span = node.span();
    let note = |message: String| section.wrong_at(span.clone(), "command", message);
    let word = match node.get_ref() {
        DeValue::String(text) => Word::parse(text).map_err(note).ok()?,
        DeValue::Array(items) if groups => {
            let words: Option<Vec<Word>> = items
                .iter()
                .map(|item| read_word(section, item, arguments, false))
                .collect();
            let group = Word::Group(words?);
            if group.arguments().is_empty() {
                note("a group without a placeholder; write its words without the brackets".into());
            }
            group
        }
        DeValue::Array(_) => {
            note("a group inside a group".into());
            return None;
        }
        other => {
            note(format!(
                "{} in a list of words; write it in quotes",
                kind(other)
            ));
            return None;
        }
    };
    if !groups {
        // The words of a group are checked with it.
        return Some(word);
    }
    check_placeholders(
        section,
        "command",
        span.clone(),
        word.arguments().into_iter(),
        arguments,
    );
    for name in word.arguments() {
        if arguments
            .iter()
            .any(|known| known.name == name && known.secret)
        {
            note(format!(
                "{{{name}}} is secret, and the words of a command can be seen by other users of the \
                 machine; give it by env = {{ NAME = \"{{{name}}}\" }}"
            ));
        }
    }
    for argument in switches(&word) {
        let known = arguments.iter().find(|known| known.name == argument);
        if known.is_some_and(|known| known.is_list() || known.rules().ty != Type::Boolean) {
            note(format!(
                "{{{argument}:…}} is a switch, and {argument} is not a boolean"
            ));
        }
    }
    let mut lists: Vec<&str> = word.arguments();
    lists.retain(|name| is_list(arguments, name));
    if lists.iter().any(|name| *name != lists[0]) {
        note("two lists in one word or group; it could not be repeated for both".into());
    }
    Some(word)
}

fn switches(word: &Word) -> Vec<&str> {
    match word {
        Word::Switch { argument, .. } => vec![argument],
        Word::Template(_) => Vec::new(),
        Word::Group(words) => words.iter().flat_map(switches).collect(),
    }
}

fn is_list(arguments: &[Argument], name: &str) -> bool {
    arguments
        .iter()
        .any(|argument| argument.name == name && argument.is_list())
}

fn check_placeholders<'n>(
    section: &Section<'_>,
    key: &str,
    span: Range<usize>,
    names: impl Iterator<Item = &'n str>,
    arguments: &[Argument],
) {
    let known = || arguments.iter().map(|argument| argument.name.as_str());
    for name in names.filter(|name| !known().any(|known| known == *name)) {
        let guess = closest(name, known())
            .map_or_else(String::new, |word| format!("; did you mean {{{word}}}?"));
        let allowed = if arguments.is_empty() {
            "the tool has no arguments".to_owned()
        } else {
            format!(
                "allowed: {}",
                known()
                    .map(|n| format!("{{{n}}}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        let message =
            format!("{{{name}}} is no argument of this tool{guess}; {allowed}; {{{{ for a brace");
        section.wrong_at(span.clone(), key, message);
    }
}

pub(super) fn note_unused(
    section: &Section<'_>,
    words: &[Word],
    env: &[(String, Template)],
    arguments: &[Argument],
) {
    for argument in arguments {
        let name = argument.name.as_str();
        let used = words.iter().any(|word| word.arguments().contains(&name))
            || env
                .iter()
                .any(|(_, value)| value.arguments().any(|other| other == name));
        if !used {
            section.wrong(
                "command",
                format!(
                    "the argument {name} is used nowhere; write {{{name}}} into command or env"
                ),
            );
        }
    }
}
