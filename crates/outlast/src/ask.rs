//! Questions with a typed answer.
//!
//! The schema of an elicitation form is narrower than JSON Schema: an object of plain values, each
//! with one type (2025-11-25 elicitation, "Supported Schema Types"). [`question`] brings the schema of
//! a Rust type into that form; what cannot be brought there is an error at the first call.

use outlast_core::{Answer as Raw, Failure, FailureReason, InputRequest, RawJson};
use outlast_engine::Cx;
use outlast_mcp::jsonrpc::code;
use outlast_mcp::offer::RequestCx;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::offer::texts;
use crate::{Error, Result, schema};

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// The form was filled in.
    Accepted(T),
    /// They said no.
    Declined,
    /// They closed the form without saying yes or no.
    Cancelled,
    /// Nobody answered in time.
    Expired,
}

/// Asking people, for the handlers of tools, prompts and resources.
///
/// ```
/// use outlast::prelude::*;
/// use outlast::{Answer, Ask};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Confirmation {
///     /// Really?
///     confirm: bool,
/// }
///
/// /// Deletes a file.
/// #[tool(task, destructive)]
/// async fn delete(path: String, cx: Cx) -> Result<String> {
///     match cx.ask::<Confirmation>("confirm", format!("Delete {path}?")).await? {
///         Answer::Accepted(Confirmation { confirm: true }) => Ok(format!("deleted {path}")),
///         _ => Ok("kept".into()),
///     }
/// }
/// ```
pub trait Ask {
    /// Asks whoever is allowed to answer, and waits; a task holds no worker meanwhile and survives
    /// a restart. `key` names the question and is used once in the life of the task. A prompt or a
    /// resource, which is no task, asks its own caller.
    ///
    /// # Errors
    /// As [`Cx::ask_raw`] and [`RequestCx::ask_raw`]; the answer does not fit `T`; `T` is no plain form.
    fn ask<T: DeserializeOwned + JsonSchema>(
        &self,
        key: &str,
        message: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<T>>> + Send;

    /// Asks whoever is allowed to answer to send the person to `url` (elicitation in URL mode), for what
    /// must not pass through the client: signing in, paying, a key. Otherwise like [`Ask::ask`].
    ///
    /// [`Answer::Accepted`] says that the person agreed to go there, not that they are done. Your page
    /// says that itself, best as a signal to the task ([`Cx::signals`]); then [`Cx::url_completed`] tells
    /// the client. The URL must not let in whoever gets hold of it: the page has to know the person.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// use outlast::{Answer, Ask};
    ///
    /// /// Books a trip.
    /// #[tool(task)]
    /// async fn book(trip: String, cx: Cx) -> Result<String> {
    ///     let page = format!("https://pay.example/{}", cx.task_id());
    ///     let Answer::Accepted(()) = cx.ask_url("pay", "Please pay for the trip.", page).await? else {
    ///         return Ok("not booked".into());
    ///     };
    ///     // The page sends it when the payment is through, by REST or by the server's handle.
    ///     let receipt: String = cx.signals("paid").next().await?;
    ///     cx.url_completed("pay").await?;
    ///     Ok(format!("{trip} is booked: {receipt}"))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Cx::ask_raw`] and [`RequestCx::ask_raw`]; `url` has no scheme.
    fn ask_url(
        &self,
        key: &str,
        message: impl Into<String>,
        url: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<()>>> + Send;
}

impl Ask for Cx {
    fn ask<T: DeserializeOwned + JsonSchema>(
        &self,
        key: &str,
        message: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<T>>> + Send {
        let request = question::<T>(key, message);
        async move { read(&self.ask_raw(request?).await?) }
    }

    fn ask_url(
        &self,
        key: &str,
        message: impl Into<String>,
        url: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<()>>> + Send {
        let request = url_question(key, message, url);
        async move { consent(&self.ask_raw(request?).await?) }
    }
}

impl Ask for RequestCx {
    fn ask<T: DeserializeOwned + JsonSchema>(
        &self,
        key: &str,
        message: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<T>>> + Send {
        let request = question::<T>(key, message);
        async move { read(&self.ask_raw(request?).await?) }
    }

    fn ask_url(
        &self,
        key: &str,
        message: impl Into<String>,
        url: impl Into<String>,
    ) -> impl Future<Output = Result<Answer<()>>> + Send {
        let request = url_question(key, message, url);
        async move { consent(&self.ask_raw(request?).await?) }
    }
}

/// The question that [`Ask::ask_url`] asks, for [`Cx::ask_all`] and [`crate::Tool::ask_first`].
///
/// # Errors
/// `url` has no scheme.
pub fn url_question(
    key: &str,
    message: impl Into<String>,
    url: impl Into<String>,
) -> Result<InputRequest> {
    let url = checked_url(url.into())?;
    let params = json!({"mode": "url", "message": message.into(), "url": url});
    Ok(InputRequest::new(key, "elicitation/create", params.into()))
}

/// The error of a call that can be made once the person has been to `url`, for tools that keep nothing
/// in between: [`Ask::ask_url`] asks and goes on by itself.
///
/// A client of 2025-11-25 gets the protocol's URLElicitationRequiredError; one of another version, where
/// there is none, gets a plain error. The text says what to do in both.
///
/// # Errors
/// `url` has no scheme.
pub fn url_required(message: impl Into<String>, url: impl Into<String>) -> Result<Error> {
    let (message, url) = (message.into(), checked_url(url.into())?);
    let text = format!("{message} Open {url} and call again.");
    let elicitation = json!({
        "mode": "url",
        "message": message,
        "url": url,
        "elicitationId": outlast_core::TaskId::random().to_string(),
    });
    Ok(Error::failed(Failure {
        reason: FailureReason::Error,
        code: code::URL_ELICITATION_REQUIRED,
        message: text,
        data: Some(json!({ "elicitations": [elicitation] }).into()),
    }))
}

fn checked_url(url: String) -> Result<String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    if is_scheme(scheme) && !url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(url);
    }
    Err(Error::protocol(
        code::INTERNAL_ERROR,
        format!("nobody can be sent to {url:?}: it is no URL; begin it with https://"),
    ))
}

/// The question that [`Ask::ask`] asks, for [`Cx::ask_all`] and [`crate::Tool::ask_first`].
///
/// # Errors
/// `T` is no plain form: an object whose fields are texts, numbers, switches or choices.
pub fn question<T: DeserializeOwned + JsonSchema>(
    key: &str,
    message: impl Into<String>,
) -> Result<InputRequest> {
    let form = form_schema::<T>().map_err(|why| not_a_form::<T>(&why))?;
    let params = FormParams {
        mode: "form",
        message: message.into(),
        requested_schema: schema::raw(&form, texts::fields::<T>()),
    };
    let params = RawJson::of(&params)?;
    Ok(InputRequest::new(key, "elicitation/create", params))
}

/// The parameters of a question with a form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FormParams {
    mode: &'static str,
    message: String,
    requested_schema: RawJson,
}

#[derive(Deserialize)]
struct Response {
    action: String,
    content: Option<RawJson>,
}

fn read<T: DeserializeOwned>(answer: &Raw) -> Result<Answer<T>> {
    let Raw::Given(response) = answer else {
        return Ok(Answer::Expired);
    };
    let response: Response = response.to()?;
    match (response.action.as_str(), response.content) {
        ("accept", content) => {
            let content = content.unwrap_or_else(RawJson::empty_object);
            Ok(Answer::Accepted(content.to()?))
        }
        ("decline", _) => Ok(Answer::Declined),
        _ => Ok(Answer::Cancelled),
    }
}

/// The answer to a question that has no content.
fn consent(answer: &Raw) -> Result<Answer<()>> {
    Ok(match read::<serde::de::IgnoredAny>(answer)? {
        Answer::Accepted(_) => Answer::Accepted(()),
        Answer::Declined => Answer::Declined,
        Answer::Cancelled => Answer::Cancelled,
        Answer::Expired => Answer::Expired,
    })
}

fn form_schema<T: JsonSchema>() -> Result<Map<String, Value>, String> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    settings.inline_subschemas = true;
    let schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Err("it has no fields".into());
    };
    let mut plain = Map::new();
    for (name, field) in properties {
        let field = plain_field(field).ok_or_else(|| format!("its field `{name}` is not plain"))?;
        plain.insert(name.clone(), field);
    }
    let mut form = Map::from_iter([
        ("type".to_owned(), "object".into()),
        ("properties".to_owned(), plain.into()),
    ]);
    if let Some(required) = schema.get("required") {
        form.insert("required".into(), required.clone());
    }
    Ok(form)
}

/// One field, with one type and without the formats that only Rust knows.
fn plain_field(field: &Value) -> Option<Value> {
    let Value::Object(mut field) = field.clone() else {
        return None;
    };
    // An `Option` of an enum comes as `anyOf: [enum, null]`.
    if let Some(Value::Array(choices)) = field.remove("anyOf") {
        let mut real = choices
            .into_iter()
            .filter(|choice| choice["type"] != "null");
        let (Some(Value::Object(only)), None) = (real.next(), real.next()) else {
            return None;
        };
        for (key, value) in only {
            field.entry(key).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = field.get("type") {
        let mut real = types.iter().filter(|name| **name != "null");
        let (Some(only), None) = (real.next(), real.next()) else {
            return None;
        };
        let only = only.clone();
        field.insert("type".into(), only);
    }
    if let Some(Value::Array(words)) = field.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let known = ["email", "uri", "date", "date-time"];
    if field
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| !known.contains(&format))
    {
        field.remove("format");
    }
    let kind = field.get("type").and_then(Value::as_str);
    let plain = match kind {
        Some("string" | "number" | "integer" | "boolean") => true,
        Some("array") => field
            .get("items")
            .is_some_and(|items| items.get("enum").is_some()),
        _ => field.contains_key("oneOf"),
    };
    // A choice of described words: `oneOf` of constants.
    if kind.is_none() && plain {
        field.insert("type".into(), "string".into());
    }
    plain.then_some(Value::Object(field))
}

fn not_a_form<T>(why: &str) -> Error {
    Error::protocol(
        -32603,
        format!(
            "{} cannot be asked for: {why}; a form is a struct whose fields are texts, numbers, \
             switches or choices",
            std::any::type_name::<T>()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, JsonSchema, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Deserialize, JsonSchema, Debug, PartialEq)]
    struct Form {
        /// Really?
        confirm: bool,
        count: u32,
        name: Option<String>,
        colour: Option<Colour>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Nested {
        inner: Form,
    }

    #[test]
    fn a_struct_becomes_a_form() {
        let form = form_schema::<Form>().unwrap();
        let fields = &form["properties"];
        assert_eq!(
            fields["confirm"],
            json!({"type": "boolean", "description": "Really?"})
        );
        assert_eq!(fields["count"]["type"], "integer");
        assert_eq!(fields["count"].get("format"), None);
        assert_eq!(fields["name"]["type"], "string");
        assert_eq!(fields["colour"]["enum"], json!(["red", "green"]));
        assert_eq!(fields["colour"]["type"], "string");
        assert_eq!(form["required"], json!(["confirm", "count"]));
        // People are asked in the order in which the fields are declared.
        let params = question::<Form>("k", "?").unwrap().params;
        let place = |name: &str| params.as_str().find(&format!("\"{name}\":{{"));
        let places = ["confirm", "count", "name", "colour"].map(place);
        assert!(places[0].is_some() && places.is_sorted(), "{params:?}");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let error = question::<Nested>("k", "?").unwrap_err();
        assert!(error.to_string().contains("`inner`"), "{error}");
        assert!(question::<u32>("k", "?").is_err());
    }

    #[test]
    fn answers() {
        let given = |value: Value| read::<Form>(&Raw::Given(value.into())).unwrap();
        let content = json!({"confirm": true, "count": 2, "colour": "red"});
        let accepted = given(json!({"action": "accept", "content": content}));
        assert!(matches!(accepted, Answer::Accepted(form) if form.colour == Some(Colour::Red)));
        assert_eq!(given(json!({"action": "decline"})), Answer::Declined);
        assert_eq!(given(json!({"action": "cancel"})), Answer::Cancelled);
        assert_eq!(read::<Form>(&Raw::Expired).unwrap(), Answer::Expired);
    }
}
