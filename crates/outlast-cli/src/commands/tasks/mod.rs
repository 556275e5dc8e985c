//! `outlast tasks`: looks after tasks, whoever created them.

mod answer;
mod cancel;
mod family;
mod filter;
mod list;
mod logs;
mod prune;
mod result;
mod retry;
mod share;
mod show;
mod signal;
mod watch;
mod webhooks;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use logs::tail as log_tail;

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};

/// Look after tasks
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Tasks {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Watch(watch::Watch),
    Result(result::Fetch),
    Logs(logs::Logs),
    Answer(answer::Answer),
    Signal(signal::Signal),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
    Prune(prune::Prune),
    Share(share::Share),
    Webhooks(webhooks::Webhooks),
}

impl Tasks {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.act())
    }

    async fn act(self) -> Result<Exit, Trouble> {
        let json = self.address.json;
        let bar = Bar::new(json);
        let need = match &self.verb {
            // What the list shows by a status, by that it is pruned.
            Verb::List(_) | Verb::Prune(_) => Need::TaskList,
            Verb::Show(_) | Verb::Answer(_) => Need::Questions,
            Verb::Watch(_) | Verb::Result(_) => Need::Answers,
            _ => Need::Any,
        };
        let client = self.address.connect(need, &bar).await?;
        let done = match self.verb {
            Verb::List(list) => list.on(&client, json).await,
            Verb::Show(show) => show.on(&client, json).await,
            Verb::Watch(watch) => watch.on(&client, &bar, json).await,
            Verb::Result(result) => result.on(&client, &bar, json).await,
            Verb::Logs(logs) => logs.on(&client, json).await,
            Verb::Answer(answer) => answer.on(&client, json).await,
            Verb::Signal(signal) => signal.on(&client, json).await,
            Verb::Cancel(cancel) => cancel.on(&client, json).await,
            Verb::Retry(retry) => retry.on(&client, json).await,
            Verb::Prune(prune) => prune.on(&client, json).await,
            Verb::Share(share) => share.on(&client, json).await,
            Verb::Webhooks(webhooks) => webhooks.on(&client, json).await,
        };
        bar.finish();
        client.close().await;
        done
    }
}
