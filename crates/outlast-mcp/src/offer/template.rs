//! URI templates (RFC 6570) read backwards: from a URI to the values of the variables.
//!
//! The part of RFC 6570 that can be read backwards without doubt: `{name}` (level 1, one path
//! segment), `{+name}` (level 2, may contain `/`), and the query forms `{?a,b}` and `{&a,b}` (level 3),
//! whose parameters may come in any order and may be left out. Everything else is refused when the
//! template is made, not when a client meets it.
//!
//! Matching is done by one regular expression without backtracking, so that no URI takes long.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

/// The longest URI that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;

/// A URI template.
#[derive(Clone)]
pub struct UriTemplate {
    text: String,
    path: Regex,
    /// The variables of the path, in the order of the expression's groups.
    segments: Vec<String>,
    /// The variables of the query.
    query: Vec<String>,
}

impl UriTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// It is not one, or of a form that cannot be read backwards; the sentence says what to write.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let wrong = |problem: &str| format!("the URI template {text:?} {problem}");
        if !has_scheme(&text) {
            return Err(wrong(
                "must begin with a scheme, for example \"config://{name}\"",
            ));
        }
        let mut pattern = String::from("^");
        let mut segments: Vec<String> = Vec::new();
        let mut query: Vec<String> = Vec::new();
        let mut rest = text.as_str();
        let mut after_variable = false;
        while !rest.is_empty() {
            let Some(open) = rest.find('{') else {
                literal(rest, &mut pattern, &query).map_err(&wrong)?;
                break;
            };
            let (before, expression) = rest.split_at(open);
            literal(before, &mut pattern, &query).map_err(&wrong)?;
            after_variable &= before.is_empty();
            let close = expression
                .find('}')
                .ok_or_else(|| wrong("has a \"{\" without a \"}\""))?;
            let inner = &expression[1..close];
            rest = &expression[close + 1..];
            let (operator, names) = match inner.chars().next() {
                Some(operator @ ('+' | '?' | '&' | '#' | '.' | '/' | ';')) => {
                    (Some(operator), &inner[1..])
                }
                _ => (None, inner),
            };
            for name in names.split(',') {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if name.is_empty() || !name.chars().all(is_name) {
                    return Err(wrong(&format!(
                        "has {{{inner}}}: a variable's name consists of letters, digits and \"_\""
                    )));
                }
                if segments.iter().chain(&query).any(|known| known == name) {
                    return Err(wrong(&format!("has the variable {name:?} twice")));
                }
                match operator {
                    Some('?' | '&') => query.push(name.to_owned()),
                    None | Some('+') if names.contains(',') || after_variable => {
                        return Err(wrong(
                            "has two variables side by side, which no URI tells apart; put text \
                             between them",
                        ));
                    }
                    None | Some('+') if !query.is_empty() => {
                        return Err(wrong("has a variable of the path after its query"));
                    }
                    None => {
                        pattern.push_str("([^/?#]+)");
                        segments.push(name.to_owned());
                    }
                    Some('+') => {
                        pattern.push_str("([^?#]+)");
                        segments.push(name.to_owned());
                    }
                    Some(operator) => {
                        return Err(wrong(&format!(
                            "has {{{inner}}}: the operator \"{operator}\" cannot be read backwards; \
                             use {{name}}, {{+path}} or {{?page,limit}}"
                        )));
                    }
                }
            }
            after_variable = !matches!(operator, Some('?' | '&'));
        }
        if segments.is_empty() && query.is_empty() {
            return Err(wrong(
                "has no variable; make it a resource with a fixed URI",
            ));
        }
        pattern.push('$');
        let path = Regex::new(&pattern).map_err(|_| wrong("is too long"))?;
        Ok(Self {
            text,
            path,
            segments,
            query,
        })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of all variables, those of the path first.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().chain(&self.query).map(String::as_str)
    }

    /// The variables of the path, which every URI of the template has.
    pub fn path_variables(&self) -> &[String] {
        &self.segments
    }

    /// The variables of the query, which a URI may leave out.
    pub fn query_variables(&self) -> &[String] {
        &self.query
    }

    /// The values that make `uri` of this template, percent-decoded. `None` if it is of another form.
    ///
    /// # Errors
    /// The path fits and the query has a parameter that the template does not know, has one twice, or
    /// has one that is not UTF-8 when decoded: a filter that is silently ignored would give the wrong
    /// contents.
    pub fn read(&self, uri: &str) -> Result<Option<BTreeMap<String, String>>, String> {
        if uri.len() > LONGEST {
            return Ok(None);
        }
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        let Some(captures) = self.path.captures(path) else {
            return Ok(None);
        };
        let mut values = BTreeMap::new();
        for (index, name) in self.segments.iter().enumerate() {
            let raw = captures.get(index + 1).map_or("", |found| found.as_str());
            let value = decoded(raw).ok_or_else(|| not_text(name))?;
            values.insert(name.clone(), value);
        }
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            if pair.is_empty() {
                continue;
            }
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let known = self.query.iter().find(|known| *known == name);
            let name = known.ok_or_else(|| match &self.query[..] {
                [] => format!("unknown query parameter {name:?}; this resource takes none"),
                all => format!(
                    "unknown query parameter {name:?}; allowed: {}",
                    all.join(", ")
                ),
            })?;
            let value = decoded(raw).ok_or_else(|| not_text(name))?;
            if values.insert(name.clone(), value).is_some() {
                return Err(format!("the query parameter {name:?} is given twice"));
            }
        }
        Ok(Some(values))
    }
}

impl fmt::Debug for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UriTemplate({:?})", self.text)
    }
}

fn not_text(name: &str) -> String {
    format!("the value of {name:?} is not percent-encoded UTF-8")
}

/// Whether the text begins as a URI does (RFC 3986, section 3.1).
pub(super) fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else {
        return false;
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits)
}

fn literal(text: &str, pattern: &mut String, query: &[String]) -> Result<(), &'static str> {
    if text.contains('}') {
        return Err("has a \"}\" without a \"{\"");
    }
    if text.contains(['?', '#']) {
        return Err("has a \"?\" or \"#\" of its own; write the query as {?name}");
    }
    if !text.is_empty() && !query.is_empty() {
        return Err("goes on after its query");
    }
    pattern.push_str(&regex::escape(text));
    Ok(())
}

/// The text that was percent-encoded. `None` if it is not UTF-8, or an escape is cut off.
fn decoded(raw: &str) -> Option<String> {
    if !raw.contains('%') {
        return Some(raw.to_owned());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits"));
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str, uri: &str) -> Option<Vec<(String, String)>> {
        let template = UriTemplate::new(template).unwrap();
        let values = template.read(uri).unwrap()?;
        Some(values.into_iter().collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Some(pairs.iter().map(owned).collect())
    }

    #[test]
    fn values_are_read_back_from_the_path() {
        assert_eq!(
            read("test://template/{id}/data", "test://template/7/data"),
            pairs(&[("id", "7")])
        );
        assert_eq!(
            read("test://template/{id}/data", "test://template/a/b/data"),
            None
        );
        assert_eq!(
            read("test://template/{id}/data", "test://template//data"),
            None
        );
        assert_eq!(
            read("file:///{+path}", "file:///a/b%20c.txt"),
            pairs(&[("path", "a/b c.txt")])
        );
        assert_eq!(
            read("a.b://{x}", "aXb://1"),
            None,
            "a literal is no pattern"
        );
        assert_eq!(
            read(
                "code://{task}/module/{name}",
                "code://t%2F1/module/caf%C3%A9"
            ),
            pairs(&[("name", "café"), ("task", "t/1")])
        );
    }

    #[test]
    fn the_query_is_optional_and_in_any_order() {
        let template = "rows://{table}{?page,limit}";
        assert_eq!(read(template, "rows://t"), pairs(&[("table", "t")]));
        assert_eq!(
            read(template, "rows://t?limit=5&page=2"),
            pairs(&[("limit", "5"), ("page", "2"), ("table", "t")])
        );
        let template = UriTemplate::new(template).unwrap();
        let refused = template.read("rows://t?pgae=2").unwrap_err();
        assert_eq!(
            refused,
            "unknown query parameter \"pgae\"; allowed: page, limit"
        );
        assert!(template.read("rows://t?page=1&page=2").is_err());
        assert!(template.read("rows://t?page=%ff").is_err());
    }

    #[test]
    fn what_cannot_be_read_backwards_is_refused() {
        for bad in [
            "plain",
            "{x}",
            "a://{x",
            "a://x}",
            "a://{}",
            "a://{x}{y}",
            "a://{x,y}",
            "a://{x*}",
            "a://{#x}",
            "a://{/x}",
            "a://{x}/{x}",
            "a://{?x}/y",
            "a://{?x}{y}",
            "a://b?c={d}",
            "a://fixed",
        ] {
            assert!(UriTemplate::new(bad).is_err(), "{bad}");
        }
    }
}
