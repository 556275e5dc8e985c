//! Tools that take their time, and those that go wrong.

use outlast::prelude::*;

pub(crate) fn tools() -> [Tool; 4] {
    [
        import_subscribers(),
        mail_digest(),
        sync_archive(),
        word_count(),
    ]
}

/// Imports the subscribers of a list, as far as each signal `go` says.
#[tool(task)]
async fn import_subscribers(
    /// How many there are.
    #[schemars(range(min = 1))]
    rows: u32,
    cx: Cx,
) -> Result<String> {
    let mut go = cx.signals::<u32>("go");
    let progress = cx.progress();
    progress.total(rows);
    let mut done = 0;
    while done < rows {
        progress.message(format!("{done} of {rows} subscribers imported"));
        let next = go.next().await?.min(rows);
        for row in done + 1..=next {
            cx.info(format!("imported subscriber {row}"));
        }
        done = done.max(next);
        progress.done(done);
    }
    Ok(format!("{rows} subscribers"))
}

/// Mails the digest. The mail server answers at the second try only.
#[tool(task, retries = 2)]
async fn mail_digest(
    /// Whom to.
    recipients: Vec<String>,
    cx: Cx,
) -> Result<String> {
    if cx.attempt() == 1 {
        cx.error("421 too many connections, try again later");
        return Err(std::io::Error::other("the mail server refused: 421 try again later").into());
    }
    Ok(format!("sent to {} readers", recipients.len()))
}

/// Copies the archive to the other site, which is full.
#[tool(task)]
async fn sync_archive(cx: Cx) -> Result<String> {
    cx.error("write to backup.example.org failed: no space left on device");
    Err(Error::tool(
        "the archive was not copied: no space left on backup.example.org",
    ))
}

/// Counts the words of a text.
#[tool(read_only)]
async fn word_count(text: String) -> usize {
    text.split_whitespace().count()
}
