//! `outlast top`: everything that runs, live, on the whole screen.
//!
//! The server is looked at every second and whenever a key asks for something else; between two looks nothing
//! is sent, so that any number of these views costs it little. A server that goes away is waited for, with what
//! was seen last on the screen.

mod draw;
mod line;
mod model;
mod terminal;

use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::{self, Event, KeyEventKind};
use outlast_core::duration;
use outlast_mcp::client::{Client, TaskInfo};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::{out, unless_interrupted};
use super::tasks::log_tail;
use model::{Action, Mode, Model, Show};
use terminal::Screen;

/// How many tasks are shown at most.
const MOST: usize = 200;

/// How long the thread that reads keys waits before it looks whether it is still needed.
const KEYS: Duration = Duration::from_millis(100);

/// The shortest time between two looks that are not asked for by a key.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long one look may take before the server counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watch everything that runs, live
///
/// Counts, queues and the latest tasks on the whole screen, with progress and time left. Keys: arrows move,
/// enter opens a task and its log, c cancels, / finds, f chooses which are shown, q leaves. For servers that
/// list tasks: ours on this machine, and those with users. With --json, a line with all of it every second.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    every: Duration,

    /// With --json: end after so many lines
    #[arg(long, value_name = "N", requires = "json")]
    count: Option<u64>,

    #[command(flatten)]
    address: Address,
}

/// What a look brings.
struct Look {
    overview: Value,
    tasks: Vec<TaskInfo>,
    log: Option<String>,
}

/// What is asked for.
#[derive(Clone, Default)]
struct Query {
    show: Show,
    text: String,
    open: Option<String>,
}

impl Query {
    fn of(model: &Model) -> Self {
        let open = match &model.mode {
            Mode::Open { id, .. } => Some(id.clone()),
            _ => None,
        };
        Self {
            show: model.show,
            text: model.text.clone(),
            open,
        }
    }
}

impl Top {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.show())
    }

    async fn show(self) -> Result<Exit, Trouble> {
        let client = self.address.connect(Need::Any, &Bar::new(true)).await?;
        // What this server does not offer is said before the screen is taken.
        let mut model = Model::default();
        let first = look(&client, Query::default()).await?;
        let shown = if self.address.json {
            self.lines(&client).await
        } else {
            take(&mut model, first);
            self.live(&client, model).await
        };
        client.close().await;
        shown
    }

    async fn lines(&self, client: &Client) -> Result<Exit, Trouble> {
        let printing = async {
            let mut left = self.count;
            while left != Some(0) {
                let seen = look(client, Query::default()).await?;
                let tasks: Vec<_> = seen.tasks.iter().map(|task| task.raw.to_value()).collect();
                out::json_line(&json!({"overview": seen.overview, "tasks": tasks}));
                left = left.map(|left| left - 1);
                if left != Some(0) {
                    tokio::time::sleep(self.every.max(SHORTEST)).await;
                }
            }
            Ok(Exit::Ok)
        };
        unless_interrupted(printing)
            .await
            .unwrap_or(Ok(Exit::Interrupted))
    }

    async fn live(&self, client: &Client, mut model: Model) -> Result<Exit, Trouble> {
        let gone = |error: io::Error| {
            Trouble::usage(format!(
                "the terminal cannot be used: {error}; elsewhere use --json, or outlast tasks list"
            ))
        };
        let listen = |kind| signal(kind).map_err(gone);
        let (mut term, mut hang) = (
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        );
        let mut screen = Screen::take().map_err(gone)?;
        let mut keys = read_keys();
        let mut ticks = tokio::time::interval(self.every.max(SHORTEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Keys are heard while the server is asked, however long it takes.
        let mut looking: Option<Asking<'_, Look>> = None;
        // Apart, for no other key may take its place before the server has heard of it.
        let mut cancelling: Option<Asking<'_, String>> = None;
        loop {
            let (width, height) = screen.size().map_err(gone)?;
            screen
                .draw(&draw::screen(&model, width, height))
                .map_err(gone)?;
            let action = tokio::select! {
                event = keys.recv() => match event {
                    Some(Event::Key(key)) if key.kind != KeyEventKind::Release => model.press(key),
                    Some(_) => Action::None,
                    None => Action::Quit,
                },
                seen = answer(&mut looking) => {
                    looking = None;
                    match seen {
                        Ok(seen) => take(&mut model, seen),
                        Err(trouble) => model.away = Some(trouble.to_string()),
                    }
                    continue;
                }
                said = answer(&mut cancelling) => {
                    cancelling = None;
                    model.said = Some(said.unwrap_or_else(|trouble| trouble.to_string()));
                    Action::Look
                }
                _ = ticks.tick(), if looking.is_none() => Action::Look,
                _ = term.recv() => Action::Quit,
                _ = hang.recv() => Action::Quit,
            };
            match action {
                Action::None => {}
                Action::Quit => {
                    // Whoever confirms a cancel and leaves means both.
                    if let Some(cancelling) = cancelling {
                        cancelling.await?;
                    }
                    return Ok(Exit::Ok);
                }
                Action::Look => {
                    looking = Some(Box::pin(patiently(look(client, Query::of(&model)))))
                }
                Action::Cancel(_) if cancelling.is_some() => {
                    model.said = Some("one cancel after the other: wait a moment".into());
                }
                Action::Cancel(id) => {
                    cancelling = Some(Box::pin(patiently(cancel(client, id))));
                }
            }
        }
    }
}

/// What the server is asked for, and has not answered yet.
type Asking<'c, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + 'c>>;

async fn answer<T>(asking: &mut Option<Asking<'_, T>>) -> Result<T, Trouble> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Waits for an answer, but not for ever.
async fn patiently<T>(asking: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    answered.unwrap_or_else(|_| Err(Trouble::new(Exit::NoConnection, "it does not answer")))
}

/// Cancels a task, and says what has become of it.
async fn cancel(client: &Client, id: String) -> Result<String, Trouble> {
    let task = client.task(&id).cancel().await?;
    let word = if task.status.is_terminal() {
        task.shown_status().as_str()
    } else {
        "being cancelled"
    };
    Ok(format!("{} is {word}", super::call::short(&id)))
}

fn take(model: &mut Model, seen: Look) {
    model.take(seen.overview, seen.tasks, Instant::now());
    if let (Mode::Open { log, .. }, Some(seen)) = (&mut model.mode, seen.log) {
        *log = seen;
    }
}

/// Asks for everything that is shown.
async fn look(client: &Client, query: Query) -> Result<Look, Trouble> {
    let overview = client.request("outlast/overview", &json!({})).await?;
    let unfinished = ["scheduled", "queued", "blocked", "running", "suspended"];
    let mut tasks = Vec::new();
    // What goes on stands before what has ended, however long ago it was created.
    for phases in [&unfinished[..], &["finished"]] {
        let unneeded = match query.show {
            Show::All => false,
            Show::Failed => phases != ["finished"],
            Show::Unfinished | Show::Asking => phases == ["finished"],
        };
        if unneeded || tasks.len() >= MOST {
            continue;
        }
        let mut params = json!({"phases": phases, "standings": query.show.standings(),
                                "limit": MOST - tasks.len()});
        if !query.text.is_empty() {
            params["text"] = query.text.as_str().into();
        }
        let page = client.request("outlast/tasks", &params).await?.to_value();
        for task in page["tasks"].as_array().into_iter().flatten() {
            let read = TaskInfo::read(task.clone().into());
            tasks.push(read.map_err(|reason| Trouble::new(Exit::Failed, reason))?);
        }
    }
    let log = match &query.open {
        Some(id) => Some(log_tail(client, id).await?),
        None => None,
    };
    Ok(Look {
        overview: overview.to_value(),
        tasks,
        log,
    })
}

/// The keys that are pressed, and changes of the size. They are read on a thread of its own, which ends soon
/// after nobody listens any more.
fn read_keys() -> mpsc::UnboundedReceiver<Event> {
    let (pressed, keys) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while !pressed.is_closed() {
            match event::poll(KEYS) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            match event::read() {
                Ok(event) if pressed.send(event).is_ok() => {}
                _ => return,
            }
        }
    });
    keys
}
