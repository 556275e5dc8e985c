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

/// Asks.
pub(crate) async fn ask(question: Question, bar: Bar) -> Reply {
    let asking = tokio::task::spawn_blocking(move || {
        bar.suspend(|| dialogue(&question, &mut io::stdin().lock(), &mut io::stderr()))
    });
    // A terminal that is gone answers nothing.
    asking
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or(Reply::Cancel)
}

/// Asks whether to go to a URL, and leaves going there to the person, who sees all of it.
pub(crate) async fn send(question: UrlQuestion, bar: Bar) -> Reply {
    let asking = tokio::task::spawn_blocking(move || {
        bar.suspend(|| sending(&question, &mut io::stdin().lock(), &mut io::stderr()))
    });
    asking
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or(Reply::Cancel)
}

fn sending(
    question: &UrlQuestion,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Reply> {
    writeln!(output, "{}", clean(&question.message, true))?;
    writeln!(output, "  {}", clean(&question.url, true))?;
    write!(output, "Open this address in a browser? [y/N] ")?;
    Ok(match line(input, output)?.as_deref() {
        None => Reply::Cancel,
        Some("y" | "Y" | "yes") => Reply::Accept(RawJson::empty_object()),
        Some(_) => Reply::Decline,
    })
}

fn dialogue(
    question: &Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Reply> {
    let schema = question.schema.to_value();
    let fields = schema.get("properties").and_then(Value::as_object);
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    writeln!(output, "{}", clean(&question.message, true))?;
    write!(output, "Answer? [Y/n, empty is yes] ")?;
    match line(input, output)?.as_deref() {
        None => return Ok(Reply::Cancel),
        Some("" | "y" | "Y" | "yes") => {}
        Some(_) => return Ok(Reply::Decline),
    }
    let required: Vec<_> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut content = Map::new();
    for (name, field) in fields {
        loop {
            write!(output, "  {} ", clean(&label(name, field), true))?;
            let Some(text) = line(input, output)? else {
                return Ok(Reply::Cancel);
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
            match convert(&schema, field, &text) {
                Ok(value) => {
                    content.insert(name.clone(), value);
                    break;
                }
                Err(expected) => writeln!(output, "  that is not {expected}")?,
            }
        }
    }
    Ok(Reply::accept(&content).expect("a map is an object"))
}

fn label(name: &str, field: &Value) -> String {
    let text = |key| field.get(key).and_then(Value::as_str);
    let mut label = text("description")
        .or_else(|| text("title"))
        .unwrap_or(name)
        .to_owned();
    if let Some(choices) = field.get("enum").and_then(Value::as_array) {
        let choices: Vec<_> = choices
            .iter()
            .map(|choice| choice.as_str().unwrap_or("?"))
            .collect();
        label.push_str(&format!(" ({})", choices.join(", ")));
    } else if text("type") == Some("boolean") {
        label.push_str(" (true, false)");
    }
    if let Some(default) = field.get("default") {
        label.push_str(&format!(" [{default}]"));
    }
    label.push(':');
    label
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

    fn answer(typed: &str) -> Reply {
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
            Reply::Accept(content) => content.to_value(),
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
            accepted("\n7\nhello\nfalse\n"),
            serde_json::json!({"n": 7, "note": "hello", "sure": false})
        );
    }

    #[test]
    fn no_is_no_and_the_end_of_input_is_neither() {
        assert_eq!(answer("n\n"), Reply::Decline);
        assert_eq!(answer(""), Reply::Cancel);
        assert_eq!(answer("y\n"), Reply::Cancel);
    }
}
