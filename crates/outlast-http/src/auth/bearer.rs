//! The token in the `Authorization` header.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use super::Denied;

/// The longest token that is looked at. Providers' are a few kilobytes.
const LONGEST: usize = 16 * 1024;

/// A bearer token. It cannot be printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a>(&'a str);

impl<'a> Token<'a> {
    /// The token itself, to be sent to whoever can tell what it is.
    pub fn expose(&self) -> &'a str {
        self.0
    }

    /// What it is remembered by.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token of a request.
pub(super) fn token(headers: &HeaderMap) -> Result<Token<'_>, Denied> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        return Err(Denied::Missing);
    };
    if lines.next().is_some() {
        return Err(Denied::Malformed("there are several Authorization headers"));
    }
    let line = line.to_str().map_err(|_| {
        Denied::Malformed("the Authorization header has characters that no token has")
    })?;
    let (scheme, token) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::Missing);
    }
    let token = token.trim_start();
    // b64token of RFC 6750, section 2.1.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > LONGEST || !token.bytes().all(allowed) {
        return Err(Denied::Malformed(
            "write the header as \"Authorization: Bearer TOKEN\"",
        ));
    }
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<String, Denied> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        token(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_header_with_one_token() {
        assert_eq!(of(&["Bearer abc.def-_~+/="]).unwrap(), "abc.def-_~+/=");
        assert_eq!(of(&["bearer  abc"]).unwrap(), "abc");
        assert_eq!(of(&[]), Err(Denied::Missing));
        assert_eq!(of(&["Basic YTpi"]), Err(Denied::Missing));
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
        ] {
            assert!(matches!(of(&[bad]), Err(Denied::Malformed(_))), "{bad}");
        }
        let long = format!("Bearer {}", "a".repeat(LONGEST + 1));
        assert!(matches!(of(&[&long]), Err(Denied::Malformed(_))));
        assert!(matches!(
            of(&["Bearer a", "Bearer a"]),
            Err(Denied::Malformed(_))
        ));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token("secret")), "Token(…)");
    }
}
