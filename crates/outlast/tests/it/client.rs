//! The client against our own server: both eras, over HTTP, the socket and within the process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast::client::{Client, ClientError, Protocol, Question, Reply, Target};
use outlast::core::TaskStatus;
use outlast::prelude::*;
use outlast::{Answer, Ask, RunningServer};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::rig::{PATIENCE, settings};

/// Adds two numbers.
#[tool(task)]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Adds two numbers, never as a task.
#[tool]
async fn add_at_once(a: i64, b: i64) -> i64 {
    a + b
}

/// Runs as a task only.
#[tool(task = "required")]
async fn heavy() -> String {
    "heavy".to_owned()
}

/// Goes on as the test lets it.
#[tool(task)]
async fn gated(steps: u32, gate: State<Arc<Semaphore>>, cx: Cx) -> Result<String> {
    cx.progress().total(steps);
    for step in 1..=steps {
        cx.step(format!("step {step}"), || async {
            gate.acquire().await.expect("never closed").forget();
            Ok(())
        })
        .await?;
        cx.progress().inc(1).message(format!("step {step} done"));
    }
    Ok(format!("{steps} steps"))
}

/// Reports an error of its own.
#[tool(task)]
async fn fails() -> Result<String> {
    Err(Error::tool("it does not work"))
}

/// Ends with an error of the protocol.
#[tool(task)]
async fn refuses() -> Result<String> {
    Err(Error::protocol(-32050, "not today"))
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Confirmation {
    /// Really?
    confirm: bool,
}

/// Asks before it does anything.
#[tool(task)]
async fn delete(path: String, cx: Cx) -> Result<String> {
    match cx
        .ask::<Confirmation>("confirm", format!("Delete {path}?"))
        .await?
    {
        Answer::Accepted(Confirmation { confirm: true }) => Ok(format!("deleted {path}")),
        _ => Ok(format!("kept {path}")),
    }
}

struct World {
    server: RunningServer,
    folder: TempDir,
    gate: Arc<Semaphore>,
}

fn server(gate: &Arc<Semaphore>) -> Server {
    Server::new("client-test")
        .state(Arc::clone(gate))
        .tool(add)
        .tool(add_at_once)
        .tool(heavy)
        .tool(gated)
        .tool(fails)
        .tool(refuses)
        .tool(delete)
}

impl World {
    async fn start() -> Self {
        let (folder, gate) = (tempfile::tempdir().unwrap(), Arc::new(Semaphore::new(0)));
        let listen = Settings {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            ..Settings::default()
        };
        let server = server(&gate)
            .start(listen.over(settings(&folder)))
            .await
            .unwrap();
        Self {
            server,
            folder,
            gate,
        }
    }

    /// Every way to the server.
    fn targets(&self) -> [Target; 3] {
        [
            Target::url(self.server.url().unwrap()),
            Target::unix(self.server.socket()),
            Target::from(&self.server),
        ]
    }
}

const ERAS: [Protocol; 2] = [Protocol::Modern, Protocol::Legacy];

#[tokio::test]
async fn every_way_leads_to_the_same_tools_and_tasks() {
    let world = World::start().await;
    for era in ERAS {
        for target in world.targets() {
            let name = format!("{era:?} over {target}");
            let lists = !target.to_string().starts_with("http") && era == Protocol::Legacy;
            let client = Client::builder(target)
                .protocol(era)
                .connect()
                .await
                .unwrap();
            let info = client.server().await.unwrap();
            assert_eq!(
                (info.name.as_str(), info.tasks, info.task_list),
                ("client-test", true, lists),
                "{name}"
            );

            let tools = client.list_tools().await.unwrap();
            let heavy = tools
                .iter()
                .find(|tool| tool.name == "heavy")
                .expect("it is listed");
            let said = (era == Protocol::Legacy).then_some(TaskSupport::Required);
            assert_eq!(heavy.task_support, said, "{name}");

            let arguments = json!({"a": 40, "b": 2});
            for tool in ["add", "add_at_once"] {
                let sum = client.call(tool, &arguments).await.unwrap();
                assert_eq!(sum.data::<i64>().unwrap(), 42, "{name}");
            }
            let task = client.call_task("add", &arguments).await.unwrap();
            assert_eq!(task.data::<i64>().await.unwrap(), 42, "{name}");
            assert_eq!(
                client
                    .task(task.id())
                    .status()
                    .await
                    .unwrap()
                    .tool
                    .as_deref(),
                Some("add")
            );
            assert_eq!(
                client.call("heavy", ()).await.unwrap().text(),
                "heavy",
                "{name}"
            );

            let failed = client.call_task("fails", ()).await.unwrap();
            assert!(failed.result().await.unwrap().is_error(), "{name}");
            let refused = client.call_task("refuses", ()).await.unwrap().await;
            let Err(ClientError::TaskFailed { error, .. }) = refused else {
                panic!("{name}: {refused:?}")
            };
            assert_eq!(error.code, -32050, "{name}");
            let cancelled = client
                .call_task("gated", json!({"steps": 1}))
                .await
                .unwrap();
            cancelled.cancel().await.unwrap();
            let ended = cancelled.result().await;
            assert!(
                matches!(ended, Err(ClientError::TaskCancelled { .. })),
                "{name}: {ended:?}"
            );
            // Once more is no error, in either era.
            assert_eq!(
                cancelled.cancel().await.unwrap().status,
                TaskStatus::Cancelled
            );

            match client.list_tasks().await {
                Ok(tasks) => assert!(
                    lists && tasks.iter().any(|one| one.id == task.id()),
                    "{name}"
                ),
                Err(error) => assert!(
                    !lists && matches!(error, ClientError::Unsupported(_)),
                    "{name}"
                ),
            }
            client.close().await;
        }
    }
}

#[tokio::test]
async fn a_task_of_one_era_is_found_in_the_other_with_the_same_bytes() {
    let world = World::start().await;
    let mut results = Vec::new();
    let [http, ..] = world.targets();
    let creator = Client::builder(http.clone())
        .protocol(Protocol::Legacy)
        .connect()
        .await
        .unwrap();
    let task = creator
        .call_task("add", json!({"a": 1, "b": 2}))
        .await
        .unwrap();
    for era in ERAS {
        for target in world.targets() {
            let client = Client::builder(target)
                .protocol(era)
                .connect()
                .await
                .unwrap();
            let result = client.task(task.id()).result().await.unwrap();
            results.push((result.content().to_vec(), result.structured().cloned()));
        }
    }
    assert!(
        results.windows(2).all(|pair| pair[0] == pair[1]),
        "{results:?}"
    );
}

#[tokio::test]
async fn progress_is_seen_in_either_era() {
    let world = World::start().await;
    for era in ERAS {
        for target in world.targets() {
            let name = format!("{era:?} over {target}");
            let client = Client::builder(target)
                .protocol(era)
                .connect()
                .await
                .unwrap();
            let task = client
                .call_task("gated", json!({"steps": 3}))
                .await
                .unwrap();
            let mut progress = task.progress();
            let mut seen = Vec::new();
            while let Some(next) = tokio::time::timeout(PATIENCE, progress.next())
                .await
                .expect(&name)
            {
                let next = next.unwrap();
                // Before it reports anything a task says how long its tool usually takes.
                if next.total.is_none() && next.done == 0.0 {
                    continue;
                }
                assert_eq!(next.total, Some(3.0), "{name}: {next:?}");
                seen.push(next.done);
                world.gate.add_permits(1);
            }
            // The last figures, and on the way there at least one: each step waits until it was seen.
            assert!(
                seen.len() >= 3 && seen.last() == Some(&3.0),
                "{name}: {seen:?}"
            );
            assert!(
                seen.windows(2).all(|pair| pair[0] <= pair[1]),
                "{name}: {seen:?}"
            );
            assert_eq!(task.data::<String>().await.unwrap(), "3 steps");
            // A permit more than there are steps was given out for the last figures.
            world.gate.forget_permits(100);

            // A plain call is told of its progress too.
            let (counted, gate) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&world.gate));
            let counting = Arc::clone(&counted);
            gate.add_permits(3);
            let call = client
                .call("gated", json!({"steps": 3}))
                .on_progress(move |_| {
                    counting.fetch_add(1, Ordering::SeqCst);
                });
            assert_eq!(call.await.unwrap().text(), "3 steps", "{name}");
            assert!(counted.load(Ordering::SeqCst) > 0, "{name}");
        }
    }
}

#[tokio::test]
async fn questions_of_tasks_are_answered_in_either_era() {
    let world = World::start().await;
    for era in ERAS {
        for target in world.targets() {
            let name = format!("{era:?} over {target}");
            let asked = Arc::new(Mutex::new(Vec::<Question>::new()));
            let asking = Arc::clone(&asked);
            let client = Client::builder(target)
                .protocol(era)
                .on_question(move |question: Question| {
                    asking.lock().unwrap().push(question);
                    async { Reply::accept(&json!({"confirm": true})).unwrap() }
                })
                .connect()
                .await
                .unwrap();
            let task = client
                .call_task("delete", json!({"path": "a.txt"}))
                .await
                .unwrap();
            let deleted = tokio::time::timeout(PATIENCE, task.data::<String>())
                .await
                .expect(&name);
            assert_eq!(deleted.unwrap(), "deleted a.txt", "{name}");
            let asked = asked.lock().unwrap();
            assert_eq!(asked.len(), 1, "{name}");
            assert_eq!(asked[0].message, "Delete a.txt?");
            assert_eq!(asked[0].task_id.as_deref(), Some(task.id()), "{name}");
            assert!(asked[0].schema.as_str().contains("confirm"));
        }
    }
}

#[tokio::test]
async fn waiting_survives_a_restart_of_the_server() {
    let World {
        server: mut running,
        folder,
        gate,
    } = World::start().await;
    let address = running.local_addr().unwrap();
    for era in ERAS {
        for target in [
            Target::url(running.url().unwrap()),
            Target::unix(running.socket()),
        ] {
            let client = Client::builder(target)
                .protocol(era)
                .connect()
                .await
                .unwrap();
            let task = client
                .call_task("gated", json!({"steps": 2}))
                .await
                .unwrap();
            let waiting = tokio::spawn(task.into_future());
            gate.add_permits(1);
            running.shutdown(Duration::ZERO).await.unwrap();
            let listen = Settings {
                listen: Some(address.to_string().parse().unwrap()),
                ..Settings::default()
            };
            running = server(&gate)
                .start(listen.over(settings(&folder)))
                .await
                .unwrap();
            gate.add_permits(2);
            let result = tokio::time::timeout(PATIENCE, waiting)
                .await
                .expect("it ends")
                .unwrap();
            assert_eq!(result.unwrap().text(), "2 steps", "{era:?}");
            gate.forget_permits(100);
        }
    }
}
