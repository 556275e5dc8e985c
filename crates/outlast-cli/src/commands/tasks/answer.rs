//! `outlast tasks answer`.

use clap::Args;
use outlast_mcp::client::{Asked, Client, OpenQuestion, Question, Reply};
use serde_json::{Map, Value, json};

use super::super::client::bar::Bar;
use super::super::client::exit::{Exit, Trouble};
use super::super::client::{arguments, out, prompt};

/// Answer what a task asks
///
/// At a terminal, each of its questions is put as a form. Elsewhere, or to answer at once, give the answer
/// as KEY=VALUE, converted as the question's schema says, or as JSON. A question that sends somebody to a
/// URL is shown with it, and consented to with --accept.
#[derive(Debug, Args)]
pub(super) struct Answer {
    /// The task
    id: String,

    /// The answer: key=value, converted as the question's schema says; key:=JSON for anything
    #[arg(value_name = "KEY=VALUE", conflicts_with_all = ["decline", "cancel", "accept"])]
    values: Vec<String>,

    /// The answer as a JSON object; KEY=VALUE wins over it
    #[arg(long, value_name = "JSON", conflicts_with_all = ["decline", "cancel", "accept"])]
    content: Option<String>,

    /// Consent to a question without content: one that sends somebody to a URL
    #[arg(long, conflicts_with_all = ["decline", "cancel"])]
    accept: bool,

    /// Say no
    #[arg(long, conflicts_with = "cancel")]
    decline: bool,

    /// Dismiss the question without a yes or a no; the task is not cancelled
    #[arg(long)]
    cancel: bool,

    /// Which question, where a task asks several; `outlast tasks show` lists them
    #[arg(long, value_name = "KEY")]
    question: Option<String>,
}

impl Answer {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let task = client.task(&self.id);
        let open = task.questions().await?;
        let chosen = self.choose(open)?;
        let mut answered = Vec::new();
        for question in &chosen {
            let reply = self.reply(question).await?;
            let action = match &reply {
                Reply::Accept(_) => "accept",
                Reply::Decline => "decline",
                Reply::Cancel => "cancel",
            };
            task.answer(question, reply).await?;
            if !as_json {
                out::line(&format!("{}  {action}", question.key));
            }
            answered.push(json!({"question": question.key, "action": action}));
        }
        if as_json {
            out::json(&json!({"taskId": self.id, "answered": answered}));
        }
        Ok(Exit::Ok)
    }

    fn is_said(&self) -> bool {
        let words = !self.values.is_empty() || self.content.is_some();
        words || self.accept || self.decline || self.cancel
    }

    /// The questions to answer.
    fn choose(&self, open: Vec<OpenQuestion>) -> Result<Vec<OpenQuestion>, Trouble> {
        let keys = |open: &[OpenQuestion]| {
            let keys = open.iter().map(|one| one.key.as_str());
            keys.collect::<Vec<_>>().join(", ")
        };
        if open.is_empty() {
            return Err(Trouble::new(
                Exit::Failed,
                format!("task {} asks nothing at present", self.id),
            ));
        }
        if let Some(key) = &self.question {
            let all = keys(&open);
            let found: Vec<_> = open.into_iter().filter(|one| one.key == *key).collect();
            if found.is_empty() {
                return Err(Trouble::new(
                    Exit::Failed,
                    format!("the task does not ask {key:?}; it asks {all}"),
                ));
            }
            return Ok(found);
        }
        if self.is_said() && open.len() > 1 {
            return Err(Trouble::usage(format!(
                "the task asks several questions; say which one is answered with --question: {}",
                keys(&open)
            )));
        }
        Ok(open)
    }

    async fn reply(&self, question: &OpenQuestion) -> Result<Reply, Trouble> {
        if self.decline {
            return Ok(Reply::Decline);
        }
        if self.cancel {
            return Ok(Reply::Cancel);
        }
        match &question.asked {
            Asked::Form(form) if self.is_said() => self.content(form),
            Asked::Form(form) if prompt::is_possible() => {
                let said = prompt::ask(form.clone(), Bar::new(true)).await;
                said.ok_or_else(|| self.left_open(question))
            }
            Asked::Form(form) => Err(Trouble::usage(format!(
                "nobody can be asked here; answer {:?} ({}) with KEY=VALUE or --content: {}",
                question.key,
                form.message,
                fields(form)
            ))),
            Asked::Url(_) if self.accept => Ok(Reply::accept(&json!({}))?),
            Asked::Url(url) if self.is_said() => Err(Trouble::usage(format!(
                "this question has no content; it sends somebody to {} : say --accept or --decline",
                url.url
            ))),
            Asked::Url(url) if prompt::is_possible() => {
                let said = prompt::send(url.clone(), Bar::new(true)).await;
                said.ok_or_else(|| self.left_open(question))
            }
            Asked::Url(url) => Err(Trouble::usage(format!(
                "nobody can be asked here; {} : {} : say --accept once somebody agreed to go there, or \
                 --decline",
                url.message, url.url
            ))),
            _ => Err(Trouble::new(
                Exit::Failed,
                format!("{:?} is no question to a person", question.key),
            )),
        }
    }

    /// At the end of the input nothing is sent: `--cancel` is there for whoever wants that.
    fn left_open(&self, question: &OpenQuestion) -> Trouble {
        Trouble::new(
            Exit::Interrupted,
            format!(
                "nothing was answered; {:?} of task {} is still open",
                question.key, self.id
            ),
        )
    }

    fn content(&self, form: &Question) -> Result<Reply, Trouble> {
        let base = match &self.content {
            None => Map::new(),
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Trouble::usage(format!("--content: not a JSON object: {error}"))
            })?,
        };
        let schema = form.schema.to_value();
        let content = if self.accept {
            Value::Object(base)
        } else {
            arguments::from_words(&schema, base, &self.values).map_err(Trouble::usage)?
        };
        Ok(Reply::accept(&content)?)
    }
}

/// What a form wants, in a line.
fn fields(form: &Question) -> String {
    let schema = form.schema.to_value();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, field): (&String, &Value)| {
        let kind = field["type"].as_str().unwrap_or("value");
        format!("{name}={kind}")
    };
    properties.map(field).collect::<Vec<_>>().join(" ")
}
