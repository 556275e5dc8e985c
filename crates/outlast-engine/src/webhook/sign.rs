//! Signatures, by the Standard Webhooks specification: HMAC-SHA256 over id, time and body.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, Mac};
use outlast_core::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What stands before a key in its text form.
const PREFIX: &str = "whsec_";

/// With or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What messages to a receiver are signed with: 24 to 64 bytes, written as `whsec_` and base64. Shows itself
/// to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// The signature of a message in the form of the header `webhook-signature`.
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("any length will do");
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The headers of a message.
pub(super) fn headers(
    key: &SigningKey,
    id: &str,
    now: Timestamp,
    body: &str,
) -> Vec<(&'static str, String)> {
    let seconds = now.as_millis().div_euclid(1000);
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", key.sign(id, seconds, body)),
    ]
}

impl FromStr for SigningKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "the secret of a webhook is whsec_ and 24 to 64 bytes in base64, for example what `echo \
             whsec_$(openssl rand -base64 32)` prints"
                .to_owned()
        };
        let base64 = text.trim().strip_prefix(PREFIX).ok_or_else(wrong)?;
        let bytes = LENIENT.decode(base64).map_err(|_| wrong())?;
        match bytes.len() {
            24..=64 => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for SigningKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SigningKey> for String {
    fn from(key: SigningKey) -> Self {
        format!("{PREFIX}{}", STANDARD.encode(key.0))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the specification's own library in Python (standardwebhooks 1.1).
    #[test]
    fn signatures_are_those_of_the_specification() {
        let key: SigningKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_say_what_they_should_be_and_never_what_they_are() {
        for wrong in ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!"] {
            let why = wrong.parse::<SigningKey>().unwrap_err();
            assert!(why.contains("whsec_"), "{why}");
        }
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let key: SigningKey = text.parse().unwrap();
        assert!(!format!("{key:?}").contains("MfKQ"));
        assert_eq!(String::from(key), text);
    }
}
