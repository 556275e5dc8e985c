//! Arguments: read from the call's JSON into the type that the handler takes.
//!
//! What does not fit is refused before anything is stored, in a sentence that names the argument.
//! The good case reads the text once and builds no tree.

use outlast_core::RawJson;
use serde::de::DeserializeOwned;

/// Reads `arguments` into `A`.
///
/// # Errors
/// They do not fit; the sentence says which and how.
pub(crate) fn read<A: DeserializeOwned>(arguments: &RawJson) -> Result<A, String> {
    let text = arguments.as_str();
    // A struct would also be read from an array of its fields.
    if !text.trim_start().starts_with('{') {
        return Err("the arguments must be a JSON object with one key for each argument".into());
    }
    serde_json::from_str(text).map_err(|_| explain::<A>(text))
}

/// Checks `arguments` against the part of the schema that types do not express.
///
/// # Errors
/// As [`read`].
pub(crate) fn validate(
    validator: &jsonschema::Validator,
    arguments: &RawJson,
) -> Result<(), String> {
    let value = arguments.to_value();
    let Some(error) = validator.iter_errors(&value).next() else {
        return Ok(());
    };
    let path = error
        .instance_path()
        .as_str()
        .trim_start_matches('/')
        .replace('/', ".");
    Err(if path.is_empty() {
        error.to_string()
    } else {
        format!("argument `{path}`: {error}")
    })
}

/// Says what is wrong with arguments that could not be read.
fn explain<A: DeserializeOwned>(text: &str) -> String {
    let mut json = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, A>(&mut json) else {
        return "the arguments are followed by something else".into();
    };
    let path = error.path().to_string();
    let problem = without_place(&error.into_inner().to_string());
    let inside = path != "." && !path.is_empty();
    if let Some(name) = problem.strip_prefix("missing field ") {
        return match path.rsplit_once('.') {
            _ if !inside => format!("argument {name} is missing"),
            _ => format!("argument `{path}`: {name} is missing"),
        };
    }
    if let Some(rest) = problem.strip_prefix("unknown field ") {
        let (name, allowed) = rest.split_once(", ").unwrap_or((rest, ""));
        let allowed = allowed
            .trim_start_matches("expected one of ")
            .trim_start_matches("expected ");
        let end = if allowed.starts_with("there are no") {
            "; the tool takes none here".to_owned()
        } else {
            format!("; allowed: {allowed}")
        };
        return format!("unknown argument {name}{end}");
    }
    if inside {
        format!("argument `{path}`: {problem}")
    } else {
        problem
    }
}

/// Without " at line 1 column 9", which says nothing to somebody who did not write the text.
fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Pair {
        a: i64,
        b: Vec<u8>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    fn refused<A: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        read::<A>(&RawJson::parse(text).unwrap()).unwrap_err()
    }

    #[test]
    fn the_sentence_names_the_argument() {
        assert_eq!(refused::<Pair>(r#"{"a":1}"#), "argument `b` is missing");
        assert_eq!(
            refused::<Pair>(r#"{"a":"x","b":[]}"#),
            "argument `a`: invalid type: string \"x\", expected i64"
        );
        assert_eq!(
            refused::<Pair>(r#"{"a":1,"b":[1,300]}"#),
            "argument `b[1]`: invalid value: integer `300`, expected u8"
        );
        assert_eq!(
            refused::<Pair>(r#"{"a":1,"b":[],"c":2}"#),
            "unknown argument `c`; allowed: `a` or `b`"
        );
        assert_eq!(
            refused::<Nothing>(r#"{"c":2}"#),
            "unknown argument `c`; the tool takes none here"
        );
    }

    #[test]
    fn only_an_object_will_do() {
        assert!(refused::<Pair>("[1,[]]").contains("must be a JSON object"));
    }
}
