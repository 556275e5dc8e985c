//! What it costs to know who asks: calls and polls with a bearer token, beside the same requests to a
//! server without users.

use std::{path::Path, sync::Arc};

use outlast::{
    Scope,
    auth::{NewToken, Tokens},
    core::{Clock as _, SystemClock},
};
use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    issuer::Issuer,
    load::{Pace, Pool, Until, Work},
    pairs::{Side, compare},
    process::Server,
    report::Row,
    stats::per_second,
    wire::Request,
};

/// The audience of tokens for the server under measurement.
pub(crate) const AUDIENCE: &str = "conformance-server";

/// The rows of users, by tokens in a file and by JSON Web Tokens.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn users(bench: &mut Bench) -> Result<()> {
    let without = bench.outlast(&bench.folder("no-users")?)?;

    let folder = bench.folder("users")?;
    let file = folder.join("tokens.json");
    let token = token_file(&file)?;
    let with = bench.outlast_with(&folder, &[("--auth-tokens", file.as_os_str())])?;
    rows(
        bench,
        (&with, &without),
        &token,
        "one of 50 tokens in a file",
    )
    .await?;
    with.kill()?;

    let issuer = Issuer::start().await?;
    let token = issuer.token(AUDIENCE)?;
    let url = issuer.url();
    let folder = bench.folder("jwt-users")?;
    let with = bench.outlast_with(&folder, &[("--jwt-issuer", url.as_ref())])?;
    rows(bench, (&with, &without), &token, "a JSON Web Token").await
}

/// Writes a file with the tokens of as many users as a team has, and returns one of them.
///
/// # Errors
/// Those of the file system.
pub(crate) fn token_file(path: &Path) -> Result<String> {
    let mut tokens = Tokens::default();
    let mut token = String::new();
    for number in 0..50 {
        let new = NewToken {
            owner: format!("user {number}"),
            groups: vec!["team".to_owned()],
            scope: Scope::Run,
            lifetime: None,
        };
        token = tokens.add(new, SystemClock::new().now());
    }
    tokens.save(path)?;
    Ok(token)
}

/// The line of a request that says who asks.
pub(crate) fn authorization(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Calls and polls of the first server with a token, beside the second.
async fn rows(
    bench: &mut Bench,
    (with, without): (&Server, &Server),
    token: &str,
    whose: &str,
) -> Result<()> {
    let header = authorization(token);
    let call = |server: &Server| {
        Request::call(&server.host(), "add_inline", json!({"a": 2, "b": 3}), false)
    };
    let sides = [
        (with, call(with).with_header(&header)),
        (without, call(without)),
    ]
    .map(|(server, request)| {
        let expect = br#""text":"5""#.as_slice();
        (server, Work::Call { request, expect })
    });
    let what = format!("`tools/call` of `add_inline` with {whose}");
    beside(bench, sides, what).await?;

    let mut sides = Vec::new();
    for (server, header) in [(with, Some(&header)), (without, None)] {
        let own = |request: Request| match header {
            Some(header) => request.with_header(header),
            None => request,
        };
        let mut pool = Pool::open(server.address, bench.connections).await?;
        let host = server.host();
        let work = Work::Lifecycles {
            create: own(Request::call(&host, "add", json!({"a": 2, "b": 3}), true)),
            host: host.clone(),
            header: header.cloned(),
            pace: Pace::Hot,
        };
        let tasks = pool.run(&work, Until::Done(bench.tasks)).await?.tasks;
        let request = own(Request::get(&host, &tasks[0]));
        let tasks = Arc::new(tasks);
        sides.push((server, Work::Polls { request, tasks }));
    }
    let sides = sides.try_into().map_err(|_| "two sides")?;
    beside(bench, sides, format!("`tasks/get` with {whose}")).await
}

async fn beside(bench: &mut Bench, sides: [(&Server, Work); 2], what: String) -> Result<()> {
    let [with, without] = sides;
    let mut open = Vec::new();
    for (server, work) in [with, without] {
        open.push(Side {
            server,
            pool: Pool::open(server.address, bench.connections).await?,
            work,
        });
    }
    let sides: [Side<'_>; 2] = open.try_into().map_err(|_| "two sides")?;
    let compared = compare(sides, bench.pairs, bench.window).await?;
    let side = |at: usize| {
        let (rate, cpu) = (compared.rates[at].median, compared.cpu[at].median);
        format!("{}, {cpu:.1} µs CPU", per_second(rate))
    };
    let mut row = Row::new(what);
    row.outlast = side(0);
    row.beside = format!("without users {}", side(1));
    row.ratio = format!(
        "{} of it; CPU {} ×",
        compared.ratio.show(2),
        compared.cpu_ratio.show(2)
    );
    row.figures = compared.figures();
    bench.row(row);
    Ok(())
}
