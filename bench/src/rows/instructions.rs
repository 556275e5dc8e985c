//! What a request costs in instructions, which is the same on a busy machine and on a quiet one: servers
//! run under valgrind's callgrind, once with few requests and once with many more over one connection,
//! and what is printed is the difference divided by the number of requests between. Instructions of the
//! kernel are not counted; both sides ask the same of it.

use std::{ffi::OsString, fs, path::Path, process::Command};

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    client::Client,
    http::Connection,
    issuer::Issuer,
    process::{Server, free_address},
    report::Row,
    rows::calls::{FIVE, raw_command, sample},
    rows::users::{AUDIENCE, authorization, token_file},
    stats::thousands,
    wire::Request,
};

/// Requests of the two runs. The fewer ones warm up whatever is made once.
const FEW: u64 = 200;

/// What is asked of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Call(&'static str),
    Get,
}

/// The rows of instructions a request, each beside `bench-raw`.
///
/// # Errors
/// The first wrong answer, or a server that does not start.
pub(crate) async fn instructions(bench: &mut Bench) -> Result<()> {
    let found = Command::new("valgrind").arg("--version").output();
    if !found.is_ok_and(|version| version.status.success()) {
        bench.leave_out("instructions a request, for which valgrind is needed");
        return Ok(());
    }
    let folder = bench.folder("instructions")?;
    let file = folder.join("tokens.json");
    let from_file = authorization(&token_file(&file)?);
    let issuer = Issuer::start().await?;
    let signed = authorization(&issuer.token(AUDIENCE)?);
    let file = vec!["--auth-tokens".into(), file.into_os_string()];
    let jwt: Vec<OsString> = vec!["--jwt-issuer".into(), issuer.url().into()];
    for (asked, what, settings, header) in [
        (
            Asked::Call("add_inline"),
            "`tools/call` of `add_inline`",
            vec![],
            None,
        ),
        (Asked::Call("add"), "`tools/call` of `add`", vec![], None),
        (Asked::Get, "`tasks/get` of a finished task", vec![], None),
        (
            Asked::Call("add_inline"),
            "`tools/call` with a token in a file",
            file,
            Some(from_file),
        ),
        (
            Asked::Call("add_inline"),
            "`tools/call` with a JSON Web Token",
            jwt,
            Some(signed),
        ),
    ] {
        row(bench, &folder, asked, what, &settings, header.as_deref()).await?;
    }
    Ok(())
}

async fn row(
    bench: &mut Bench,
    folder: &Path,
    asked: Asked,
    what: &str,
    settings: &[OsString],
    header: Option<&str>,
) -> Result<()> {
    let many = if bench.quick { 2 * FEW } else { 12 * FEW };
    let mut counted = [0; 2];
    let mut answers = None;
    for (at, requests) in [FEW, many].into_iter().enumerate() {
        // Each on a store of its own, or the second would find the first one's tasks.
        let own = tempfile::tempdir_in(folder)?;
        let address = free_address()?;
        let mut command = bench.outlast_command(own.path(), address);
        command.args(settings);
        let server = counting(&command, address, own.path())?;
        let (mut request, task) = asked.request(&server, header).await?;
        if answers.is_none() {
            answers = Some(sample(&server, request.clone(), task.as_deref()).await?);
        }
        send(&server, &mut request, requests, asked).await?;
        counted[at] = ended(server, own.path())?;
    }
    let mut raw = [0; 2];
    let answers = answers.ok_or("no answer was kept")?;
    for (at, requests) in [FEW, many].into_iter().enumerate() {
        let own = tempfile::tempdir_in(folder)?;
        let address = free_address()?;
        let answers = [(asked.key(), answers.clone())];
        let command = raw_command(own.path(), address, &answers)?;
        let server = counting(&command, address, own.path())?;
        // The same bytes, whether anybody reads them or not.
        let mut request = asked.plain(&server, NO_TASK, header);
        send(&server, &mut request, requests, asked).await?;
        raw[at] = ended(server, own.path())?;
    }
    let a_request = |counts: [u64; 2]| counts[1].saturating_sub(counts[0]) / (many - FEW);
    let (own, raw) = (a_request(counted), a_request(raw));
    let mut row = Row::new(format!("instructions of {what}"));
    row.outlast = thousands(own as f64);
    row.beside = format!("raw axum {}", thousands(raw as f64));
    row.ratio = format!("{:.2} × raw", own as f64 / raw as f64);
    row.reach = "≤ 1.25 ×".to_owned();
    row.figures = json!({"instructions": own, "raw": raw});
    bench.row(row);
    Ok(())
}

/// A task that is asked for where nobody looks it up.
const NO_TASK: &str = "00000000-0000-4000-8000-000000000000";

impl Asked {
    /// How `bench-raw` knows such a request.
    fn key(self) -> String {
        match self {
            Asked::Call(tool) => format!("tools/call {tool}"),
            Asked::Get => "tasks/get".to_owned(),
        }
    }

    /// The request, with a finished task where it needs one.
    async fn request(
        self,
        server: &Server,
        header: Option<&str>,
    ) -> Result<(Request, Option<String>)> {
        match self {
            Asked::Call(_) => Ok((self.plain(server, NO_TASK, header), None)),
            Asked::Get => {
                let mut client = Client::open(server).await?;
                let task = client.create("add", json!({"a": 2, "b": 3})).await?;
                client.ended(&task).await?;
                Ok((self.plain(server, &task, header), Some(task)))
            }
        }
    }

    fn plain(self, server: &Server, task: &str, header: Option<&str>) -> Request {
        let request = match self {
            Asked::Call(tool) => {
                Request::call(&server.host(), tool, json!({"a": 2, "b": 3}), false)
            }
            Asked::Get => Request::get(&server.host(), task),
        };
        match header {
            Some(header) => request.with_header(header),
            None => request,
        }
    }
}

/// Starts a server under callgrind.
fn counting(command: &Command, address: std::net::SocketAddr, folder: &Path) -> Result<Server> {
    let mut counting = Command::new("valgrind");
    counting
        .arg("--tool=callgrind")
        .arg("--callgrind-out-file=/dev/null")
        .arg(command.get_program())
        .args(command.get_args());
    Server::start(counting, address, &folder.join("server.log"))
}

async fn send(server: &Server, request: &mut Request, count: u64, asked: Asked) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let expected: &[u8] = match asked {
        Asked::Call(_) => FIVE,
        Asked::Get => br#""status":"completed""#,
    };
    for _ in 0..count {
        let response = connection.send(request.next()).await?;
        if response.status != 200 || crate::http::find(response.body, expected).is_none() {
            return Err(format!(
                "answered with status {} and {:.400}",
                response.status,
                String::from_utf8_lossy(response.body)
            )
            .into());
        }
    }
    Ok(())
}

/// Ends a server and reads what it has cost.
fn ended(server: Server, folder: &Path) -> Result<u64> {
    server.stop()?;
    let log = fs::read_to_string(folder.join("server.log"))?;
    let counted = log.lines().rev().find_map(|line| {
        let (_, count) = line.split_once("Collected :")?;
        count.trim().parse().ok()
    });
    counted.ok_or_else(|| format!("callgrind says no count: {log:.600}").into())
}
