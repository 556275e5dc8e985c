//! Asks the person at the terminal what a tool wants to know.

use std::io::{self, BufRead, IsTerminal, Write};

use outlast_core::RawJson;
use outlast_mcp::client::{Question, Reply, UrlQuestion};
use serde_json::{Map, Value};

use super::arguments::convert;
use super::bar::Bar;
use super::out::clean;

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks. `None` is the end of the input, or of the terminal: nothing was said.
pub(crate) async fn ask(question: Question, bar: Bar) -> Option<Reply> {
    let asking = tokio::task::spawn_blocking(move || {
        bar.suspend(|| dialogue(&question, &mut io::stdin().lock(), &mut io::stderr()))
    });
    asking.await.ok().and_then(Result::ok).flatten()
}

/// Asks whether to go to a URL, and leaves going there to the person, who sees all of it. `None` as with [`ask`].
pub(crate) async fn send(question: UrlQuestion, bar: Bar) -> Option<Reply> {
    let asking = tokio::task::spawn_blocking(move || {
        bar.suspend(|| sending(&question, &mut io::stdin().lock(), &mut io::stderr()))
    });
    asking.await.ok().and_then(Result::ok).flatten()
}

fn sending(
    question: &UrlQuestion,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Option<Reply>> {
    writeln!(output, "{}", clean(&question.message, true))?;
    writeln!(output, "  {}", clean(&question.url, true))?;
    let consent = confirmed(
        "Open this address in a browser? [y/N]",
        false,
        input,
        output,
    )?;
    Ok(consent.map(|yes| match yes {
        true => Reply::Accept(RawJson::empty_object()),
        false => Reply::Decline,
    }))
}

/// Asks until the answer is a yes or a no: an answer is final, so a slip of the finger must not be one. `None` at the
/// end of the input.
fn confirmed(
    what: &str,
    usual: bool,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Option<bool>> {
    loop {
        write!(output, "{what} ")?;
        let Some(said) = line(input, output)? else {
            return Ok(None);
        };
        match yes_or_no(&said) {
            Some(yes) => return Ok(Some(yes)),
            None if said.trim().is_empty() => return Ok(Some(usual)),
            None => writeln!(output, "  say y or n")?,
        }
    }
}

fn yes_or_no(said: &str) -> Option<bool> {
    match said.trim().to_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

fn dialogue(
    question: &Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Option<Reply>> {
    let schema = question.schema.to_value();
    let fields = schema.get("properties").and_then(Value::as_object);
    writeln!(output, "{}", clean(&question.message, true))?;
    match confirmed("Answer? [Y/n, empty is yes]", true, input, output)? {
        None => return Ok(None),
        Some(false) => return Ok(Some(Reply::Decline)),
        Some(true) => {}
    }
    let required: Vec<_> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut content = Map::new();
    for (name, field) in fields.into_iter().flatten() {
        loop {
            write!(output, "  {} ", clean(&label(name, field), true))?;
            let Some(text) = line(input, output)? else {
                return Ok(None);
            };
            if text.is_empty() {
                if let Some(default) = field.get("default") {
                    content.insert(name.clone(), default.clone());
                    break;
                }
                if !required.contains(&name.as_str()) {
                    break;
                }
            }
            match value(&schema, field, &text) {
                Ok(value) => {
                    content.insert(name.clone(), value);
                    break;
                }
                Err(expected) => writeln!(output, "  that is not {expected}")?,
            }
        }
    }
    Ok(Some(Reply::accept(&content).expect("a map is an object")))
}

/// What was typed, as the field wants it: yes and no are true and false here, and several choices are separated by
/// commas.
fn value(schema: &Value, field: &Value, text: &str) -> Result<Value, String> {
    match field["type"].as_str() {
        Some("boolean") => match yes_or_no(text) {
            Some(yes) => Ok(yes.into()),
            None => convert(schema, field, text.trim()),
        },
        Some("array") if !text.trim_start().starts_with('[') => text
            .split(',')
            .map(|item| convert(schema, &field["items"], item.trim()))
            .collect(),
        _ => convert(schema, field, text),
    }
}

fn label(name: &str, field: &Value) -> String {
    let text = |key| field.get(key).and_then(Value::as_str);
    let mut label = text("description")
        .or_else(|| text("title"))
        .unwrap_or(name)
        .to_owned();
    let (several, of) = match field.get("items") {
        Some(items) => ("any of ", items),
        None => ("", field),
    };
    let choices = choices(of);
    if !choices.is_empty() {
        label.push_str(&format!(" ({several}{})", choices.join(", ")));
    } else if text("type") == Some("boolean") {
        label.push_str(" (y, n)");
    }
    if let Some(default) = field.get("default") {
        label.push_str(&format!(" [{default}]"));
    }
    label.push(':');
    label
}

/// The words that may be typed, each with its title where it has another.
fn choices(schema: &Value) -> Vec<String> {
    let word = |value: &Value| match value.as_str() {
        Some(word) => word.to_owned(),
        None => value.to_string(),
    };
    if let Some(values) = schema["enum"].as_array() {
        let titles = schema["enumNames"].as_array();
        let title = |at: usize| titles.and_then(|titles| titles.get(at)?.as_str());
        let named = values.iter().enumerate();
        return named
            .map(|(at, value)| titled(word(value), title(at)))
            .collect();
    }
    let one_of = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let consts = one_of.into_iter().flatten();
    consts
        .filter(|choice| choice.get("const").is_some())
        .map(|choice| titled(word(&choice["const"]), choice["title"].as_str()))
        .collect()
}

fn titled(word: String, title: Option<&str>) -> String {
    match title {
        Some(title) if title != word => format!("{word}: {title}"),
        _ => word,
    }
}

/// A line without its end; none at the end of the input.
fn line(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Option<String>> {
    output.flush()?;
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(typed: &str) -> Option<Reply> {
        // Questions are made by the client alone; one is had through an answerer.
        let schema = serde_json::json!({
            "type": "object",
            "properties": {"sure": {"type": "boolean"}, "note": {"type": "string"}, "n": {"type": "integer", "default": 3}},
            "required": ["sure"],
        });
        let question = Question::new("Delete it?", schema.into());
        dialogue(&question, &mut typed.as_bytes(), &mut Vec::new()).unwrap()
    }

    fn accepted(typed: &str) -> Value {
        match answer(typed) {
            Some(Reply::Accept(content)) => content.to_value(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_asked_for_until_they_fit() {
        // In the order of the schema's members.
        assert_eq!(
            accepted("y\n\n\nmaybe\ntrue\n"),
            serde_json::json!({"n": 3, "sure": true})
        );
        assert_eq!(
            accepted("\n7\nhello\nNo\n"),
            serde_json::json!({"n": 7, "note": "hello", "sure": false})
        );
    }

    #[test]
    fn only_a_no_is_a_no_and_the_end_of_input_says_nothing() {
        for no in ["n", "No", " NO "] {
            assert_eq!(answer(&format!("{no}\n")), Some(Reply::Decline), "{no}");
        }
        for yes in ["y", "Yes", "YES ", ""] {
            assert_eq!(accepted(&format!("{yes}\n\n\ny\n"))["sure"], true, "{yes}");
        }
        // A slip of the finger is asked again.
        assert_eq!(answer("a\nok\nn\n"), Some(Reply::Decline));
        assert_eq!(answer(""), None);
        assert_eq!(answer("y\n"), None);
        assert_eq!(answer("nö"), None);
    }

    #[test]
    fn choices_are_shown_and_kept_to() {
        let schema = serde_json::json!({"type": "object", "required": ["how", "where"], "properties": {
            "how": {"type": "string", "oneOf": [{"const": "rolling", "title": "One by one"}, {"const": "canary"}]},
            "where": {"type": "array", "items": {"type": "string", "enum": ["eu", "us", "ap"]}},
        }});
        let question = Question::new("Roll out?", schema.into());
        let (mut typed, mut shown) = (
            "y\nbig bang\nrolling\neu, mars\neu, ap\n".as_bytes(),
            Vec::new(),
        );
        let reply = dialogue(&question, &mut typed, &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(
            shown.contains("how (rolling: One by one, canary):"),
            "{shown}"
        );
        assert!(shown.contains("where (any of eu, us, ap):"), "{shown}");
        assert!(shown.contains("that is not rolling or canary"), "{shown}");
        let Some(Reply::Accept(content)) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(
            content.to_value(),
            serde_json::json!({"how": "rolling", "where": ["eu", "ap"]})
        );
    }
}
