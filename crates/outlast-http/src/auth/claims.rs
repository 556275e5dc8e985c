//! From what an authorization server says about a token to a principal.

use outlast_core::{Owner, Principal, Scope};
use serde_json::{Map, Value};

/// A token is bound to a key (RFC 7800: DPoP, mutual TLS) so that a thief cannot use it. Nobody here looks
/// for the proof, so to take it as a bearer token would undo that.
const BOUND: &str = "the token is bound to a key, of which this server can take no proof; ask for a \
                     plain bearer token";

/// Which claims say what.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) owner: String,
    pub(super) groups: String,
    /// What stands before our words in the server's scopes.
    pub(super) prefix: String,
    /// What a token may that names no scope of ours.
    pub(super) default: Option<Scope>,
}

impl Reading {
    /// # Errors
    /// A claim without a name, which no token has.
    pub(super) fn new(
        owner: Option<String>,
        groups: Option<String>,
        prefix: Option<String>,
        default: Option<Scope>,
    ) -> Result<Self, String> {
        let named = |setting: &str, name: Option<String>, usual: &str| match name {
            Some(name) if name.is_empty() => Err(format!(
                "{setting}: is empty, and no token has such a claim; leave it out for {usual:?}"
            )),
            name => Ok(name.unwrap_or_else(|| usual.to_owned())),
        };
        Ok(Self {
            owner: named("owner_claim", owner, "sub")?,
            groups: named("groups_claim", groups, "groups")?,
            prefix: prefix.unwrap_or_default(),
            default,
        })
    }

    /// The principal; `issuer` keeps equal subjects of two servers apart (2026-07-28: a principal is an
    /// issuer and a subject).
    ///
    /// # Errors
    /// The token does not say whose it is, or may not be sent as a bearer token.
    pub(super) fn principal(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
    ) -> Result<Principal, String> {
        if claims.contains_key("cnf") {
            return Err(BOUND.into());
        }
        let subject = match claims.get(&self.owner) {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            Some(Value::Number(subject)) => subject.to_string(),
            _ => return Err(format!("the token has no {:?}", self.owner)),
        };
        let words = ["scope", "scp", "roles"].map(|name| words(claims.get(name)));
        let words = words.iter().flatten();
        let ours = words.filter_map(|word| word.strip_prefix(&*self.prefix));
        let scope = Scope::highest(ours).or(self.default);
        Ok(Principal::new(Owner::new(format!("{issuer}|{subject}")))
            .with_groups(words_of(claims.get(&self.groups)))
            .with_scope(scope))
    }
}

/// The words of a claim: a list, or a text of words.
fn words(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn words_of(claim: Option<&Value>) -> Vec<String> {
    match claim {
        // A group's name may have spaces.
        Some(Value::String(name)) => vec![name.clone()],
        list => words(list).into_iter().map(str::to_owned).collect(),
    }
}

/// Whether an answer to an introspection speaks of an access token that a bearer may send. An authorization
/// server finds refresh tokens active too, and the hint of what we look for binds it to nothing (RFC 7662,
/// section 2.1). What it does not say is not held against the token: the type is optional.
pub(super) fn is_bearer(answer: &Map<String, Value>) -> bool {
    let is_one_of = |name: &str, allowed: [&str; 2]| match answer.get(name) {
        None | Some(Value::Null) => true,
        Some(said) => said.as_str().is_some_and(|said| {
            allowed
                .iter()
                .any(|allowed| said.eq_ignore_ascii_case(allowed))
        }),
    };
    is_one_of("token_type", ["Bearer", "access_token"])
        && is_one_of("token_use", ["access_token", "access"])
}

/// Whether one of the token's audiences is one of ours.
pub(super) fn is_for(claims: &Map<String, Value>, audiences: &[String]) -> bool {
    let theirs = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        list => words(list),
    };
    theirs
        .iter()
        .any(|theirs| audiences.iter().any(|ours| ours == theirs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_read_in_their_usual_forms() {
        let reading = Reading {
            owner: "sub".into(),
            groups: "groups".into(),
            prefix: "api://x/".into(),
            default: None,
        };
        let of = |claims: Value| reading.principal("https://i", claims.as_object().unwrap());
        let alice =
            of(json!({"sub": "a", "groups": ["x", "y z"], "scope": "openid api://x/tasks:run"}));
        let alice = alice.unwrap();
        assert_eq!(alice.owner().as_str(), "https://i|a");
        assert_eq!(alice.groups(), ["x", "y z"]);
        assert_eq!(alice.scope(), Some(Scope::Run));
        let number = of(json!({"sub": 7, "scp": ["api://x/tasks:read"]})).unwrap();
        assert_eq!(number.owner().as_str(), "https://i|7");
        assert_eq!(number.scope(), Some(Scope::Read));
        assert_eq!(
            of(json!({"sub": "a", "scope": "tasks:run"}))
                .unwrap()
                .scope(),
            None
        );
        assert!(of(json!({})).is_err() && of(json!({"sub": ""})).is_err());
        let bound = of(json!({"sub": "a", "cnf": {"jkt": "x"}})).unwrap_err();
        assert!(bound.contains("plain bearer token"), "{bound}");
        let bearer = |answer: Value| is_bearer(answer.as_object().unwrap());
        assert!(bearer(json!({})) && bearer(json!({"token_type": "bearer"})));
        assert!(bearer(
            json!({"token_type": "Bearer", "token_use": "access_token"})
        ));
        for other in [
            json!({"token_type": "DPoP"}),
            json!({"token_type": "refresh_token"}),
            json!({"token_type": "Bearer", "token_use": "refresh_token"}),
            json!({"token_type": 7}),
        ] {
            assert!(!bearer(other.clone()), "{other}");
        }
        let aud = |aud: Value| is_for(json!({"aud": aud}).as_object().unwrap(), &["me".into()]);
        assert!(aud(json!("me")) && aud(json!(["you", "me"])));
        assert!(!aud(json!("me too")) && !aud(json!([])) && !aud(json!(null)));
    }
}
