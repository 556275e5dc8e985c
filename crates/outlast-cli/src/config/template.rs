//! The words of a command with their `{argument}` placeholders.
//!
//! A word of the list in the file stays a word of the command whatever the argument's value holds;
//! nothing is ever split or joined by a shell. The grammar:
//!
//! | written | becomes |
//! |---|---|
//! | `"--name={name}"` | one word with the value in it |
//! | `"{name}"` | one word that is the value; refused when it begins with `-` (`allow_dash`) |
//! | `"{files}"`, `"--file={files}"`, a list | one word for each item |
//! | `"{verbose:--verbose}"`, a boolean | `--verbose` when true, else no word |
//! | `["--tag", "{tag}"]`, a list in the list | a group: left out whole, or repeated for each item |
//! | `"{{"` and `"}}"` | a literal brace |
//!
//! A word with an optional argument that was not given is left out, and so is a whole group in which
//! an argument was not given or a switch is off.

/// Part of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Text of the author.
    Text(String),
    /// The value of the argument with this name.
    Value(String),
}

/// A word, or a text, with placeholders.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Template(pub Vec<Piece>);

/// An element of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// A word with placeholders.
    Template(Template),
    /// A fixed word that stands only where a boolean is true.
    Switch {
        /// The boolean argument.
        argument: String,
        /// The word.
        text: String,
    },
    /// Words that stand, are left out and are repeated together. Holds no further group.
    Group(Vec<Word>),
}

impl Template {
    /// The names of the arguments in it.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

impl Word {
    /// The names of all arguments in it, in order, with repetitions.
    #[must_use]
    pub fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Template(template) => template.arguments().collect(),
            Self::Switch { argument, .. } => vec![argument],
            Self::Group(words) => words.iter().flat_map(Self::arguments).collect(),
        }
    }

    /// Reads one word.
    ///
    /// # Errors
    /// A sentence for the author: a brace without its partner, an empty name, a switch that is not
    /// a word of its own, a NUL byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((argument, word)) = switch(text) {
            if argument.is_empty() || word.is_empty() || word.contains(['{', '}']) {
                return Err(format!(
                    "\"{text}\" is not a switch; write {{ARGUMENT:WORD}}, for example \
                     {{verbose:--verbose}}"
                ));
            }
            return Ok(Self::Switch {
                argument: argument.to_owned(),
                text: word.to_owned(),
            });
        }
        Template::parse(text).map(Self::Template)
    }
}

/// Splits `{argument:word}`.
fn switch(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.starts_with('{') {
        return None;
    }
    let (argument, word) = inner.split_once(':')?;
    (!argument.contains(['{', '}'])).then_some((argument, word))
}

impl Template {
    /// Reads a text with placeholders.
    ///
    /// # Errors
    /// As [`Word::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a NUL byte, which no program can receive".to_owned());
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let inside = (brace == "{").then(|| rest.split_once('}')).flatten();
            let Some((name, after)) = inside.filter(|(name, _)| !name.contains('{')) else {
                return Err(format!(
                    "\"{text}\" has a {brace} without its partner; double it ({brace}{brace}) \
                     where you mean the character"
                ));
            };
            if name.is_empty() || name.contains(':') {
                return Err(format!(
                    "\"{text}\": {{{name}}} is not a placeholder; allowed: {{ARGUMENT}}, \
                     {{ARGUMENT:WORD}} as a word of its own, {{{{ and }}}} for braces"
                ));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn value(name: &str) -> Piece {
        Piece::Value(name.into())
    }

    #[test]
    fn words_are_read() {
        let template = |pieces: Vec<Piece>| Ok(Word::Template(Template(pieces)));
        assert_eq!(Word::parse("plain"), template(vec![text("plain")]));
        assert_eq!(Word::parse(""), template(vec![]));
        assert_eq!(Word::parse("{a}"), template(vec![value("a")]));
        assert_eq!(
            Word::parse("x{a}{b}y"),
            template(vec![text("x"), value("a"), value("b"), text("y")])
        );
        assert_eq!(Word::parse("{{a}}"), template(vec![text("{a}")]));
        assert_eq!(
            Word::parse("{{\"k\":\"{a}\"}}"),
            template(vec![text("{\"k\":\""), value("a"), text("\"}")])
        );
        assert_eq!(
            Word::parse("{v:--verbose}"),
            Ok(Word::Switch {
                argument: "v".into(),
                text: "--verbose".into()
            })
        );
        assert_eq!(
            Word::parse("{v:a:b}"),
            Ok(Word::Switch {
                argument: "v".into(),
                text: "a:b".into()
            })
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (word, part) in [
            ("{a", "double it"),
            ("a}", "double it"),
            ("{}", "not a placeholder"),
            ("x{v:--verbose}", "word of its own"),
            ("{v:}", "not a switch"),
            ("{:x}", "not a switch"),
            ("{a{b}", "double it"),
            ("a\0b", "NUL"),
        ] {
            let error = Word::parse(word).unwrap_err();
            assert!(error.contains(part), "{word}: {error}");
        }
    }
}
