//! What stands in the way of a start, and what a start and an end do.

use std::time::Duration;

use outlast::StartError;
use outlast::prelude::*;
use serde_json::json;

use crate::rig::{Rig, settings};

#[tool]
async fn plain() -> &'static str {
    "p"
}

#[tool]
async fn stateful(number: State<u32>) -> u32 {
    *number
}

#[tool(ask_first = nobody)]
async fn asks_first() {}

#[tool(task, requires = ["gpu", "two words"])]
async fn picky() {}

fn nobody(_: &outlast::RawJson) -> Result<Vec<outlast::InputRequest>> {
    Ok(Vec::new())
}

#[tool(task)]
async fn sleeps(ms: u64, cx: Cx) -> Result<&'static str> {
    for i in 0..ms / 10 {
        let ten = Duration::from_millis(10);
        cx.step(format!("{i}"), || async move {
            tokio::time::sleep(ten).await;
            Ok(())
        })
        .await?;
    }
    Ok("slept")
}

async fn refused(server: Server, more: Settings) -> String {
    let folder = tempfile::tempdir().unwrap();
    match server.start(more.over(settings(&folder))).await {
        Ok(_) => panic!("it started"),
        Err(error) => StartError::to_string(&error),
    }
}

#[tokio::test]
async fn what_does_not_fit_together_does_not_start() {
    let none = Settings::default();
    let error = refused(Server::new("t").tools([plain, plain]), none.clone()).await;
    assert!(error.contains("two tools are named \"plain\""), "{error}");
    let error = refused(Server::new("t").tool(stateful), none.clone()).await;
    assert!(
        error.contains("State<u32>") && error.contains(".state("),
        "{error}"
    );
    let error = refused(Server::new("t").tool(picky), none.clone()).await;
    assert!(
        error.contains("\"picky\"") && error.contains("\"two words\""),
        "{error}"
    );
    let error = refused(Server::new("t").tool(asks_first), none).await;
    assert!(error.contains("--task optional"), "{error}");
    let optional = Settings {
        task: Some(TaskSupport::Optional),
        ..Settings::default()
    };
    Rig::with(Server::new("t").tool(asks_first), optional).await;
}

#[tokio::test]
async fn addresses_that_cannot_be_had_are_said_to_be() {
    let listen = |text: &str| Settings {
        listen: Some(text.parse().unwrap()),
        ..Settings::default()
    };
    let error = refused(Server::new("t").tool(plain), listen("0.0.0.0:0")).await;
    assert!(error.contains("there are no users"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = refused(Server::new("t").tool(plain), listen(&address)).await;
    assert!(error.contains("the port is in use"), "{error}");
}

#[tokio::test]
async fn a_store_has_one_server() {
    let rig = Rig::start(Server::new("t").tool(plain)).await;
    let second = Server::new("t")
        .tool(plain)
        .start(settings(&rig.folder))
        .await;
    let error = second.err().expect("the store is in use").to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    rig.server.shutdown(Duration::ZERO).await.unwrap();
    let other = Server::new("another")
        .tool(plain)
        .start(settings(&rig.folder))
        .await;
    let error = other
        .err()
        .expect("the store is another server's")
        .to_string();
    assert!(error.contains("\"t\"") || error.contains("t "), "{error}");
    let again = Server::new("t")
        .tool(plain)
        .start(settings(&rig.folder))
        .await
        .unwrap();
    again.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_clean_stop_hands_back_what_runs() {
    let mut rig = Rig::start(Server::new("t").tool(sleeps)).await;
    let task = rig.call("sleeps", json!({"ms": 2000})).await;
    let id = task["taskId"].as_str().unwrap().to_owned();
    rig.server.shutdown(Duration::ZERO).await.unwrap();
    let server = Server::new("t")
        .tool(sleeps)
        .start(settings(&rig.folder))
        .await
        .unwrap();
    let handle = server.handle();
    let owner = outlast::Owner::local();
    let ended = tokio::time::timeout(
        crate::rig::PATIENCE,
        handle.wait(&owner, id.parse().unwrap()),
    );
    let ended = ended.await.expect("it goes on").unwrap();
    assert_eq!(ended.state.crashes, 0, "a clean stop is no crash");
    server.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_clean_stop_lets_running_work_end() {
    let mut rig = Rig::start(Server::new("t").tool(sleeps)).await;
    rig.call("sleeps", json!({"ms": 100})).await;
    let database = rig.server.database().to_owned();
    rig.server.shutdown(crate::rig::PATIENCE).await.unwrap();
    assert!(!outlast_socket(&database).exists(), "the socket is gone");
    let server = Server::new("t")
        .tool(sleeps)
        .start(settings(&rig.folder))
        .await
        .unwrap();
    assert_eq!(server.handle().unfinished().await.unwrap(), 0);
    server.shutdown(Duration::ZERO).await.unwrap();
}

fn outlast_socket(database: &std::path::Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".sock");
    name.into()
}

#[tokio::test]
async fn a_server_in_a_program_listens_where_it_is_told() {
    let listen = Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Settings::default()
    };
    let rig = Rig::with(Server::new("t").tool(plain), listen).await;
    let address = rig.server.local_addr().expect("an address");
    assert!(address.ip().is_loopback() && address.port() != 0);
    assert_eq!(rig.server.url(), Some(format!("http://{address}/mcp")));
    tokio::net::TcpStream::connect(address).await.unwrap();
    let quiet = Rig::start(Server::new("t").tool(plain)).await;
    assert_eq!(quiet.server.local_addr(), None);
}

#[tokio::test]
async fn a_clean_stop_waits_for_no_client_for_ever() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listen = Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Settings::default()
    };
    let rig = Rig::with(Server::new("t").tool(plain), listen).await;
    let address = rig.server.local_addr().expect("an address");
    // One that is sent a stream, and one whose request never comes to its end.
    let requests = [
        "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: 100\r\n\r\n",
    ];
    let mut clients = Vec::new();
    for request in requests {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        // Its request is under way: the head of the stream, or the word to go on, has come.
        client.read_exact(&mut [0; 12]).await.unwrap();
        clients.push(client);
    }
    rig.server.shutdown(Duration::ZERO).await.unwrap();
    for mut client in clients {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(crate::rig::PATIENCE, client.read_to_end(&mut rest)).await;
        // With or without a word; the connection is no more.
        let _ = end.expect("the connection ends");
    }
}
