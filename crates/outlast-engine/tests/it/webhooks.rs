//! Webhooks: who is told of what, how it is signed, and that it is tried again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::same::Then;
use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::webhook::{Delivery, DeliveryState, GIVE_UP_AFTER, Receiver};
use outlast_core::{Clock, Error, InputRequest, Owner, RawJson, Reads, TaskId, WebhookEvent};
use outlast_engine::{
    BoxFuture, Cx, Engine, Handle, NewCall, NewWebhook, OnDrop, Order, Sameness, ServerWebhook,
    SigningKey, Tool, Trust, WebhookAnswer, WebhookMessage, WebhookSender, Webhooks,
};
use serde_json::Value;

use crate::support::{builder, call, eventually, finished, tool};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Takes messages down and answers as the test wants; 200 where it says nothing.
#[derive(Default)]
struct Script {
    sent: Mutex<Vec<WebhookMessage>>,
    answers: Mutex<VecDeque<Result<WebhookAnswer, String>>>,
    /// Whoever is there never answers.
    silent: Mutex<Option<&'static str>>,
}

impl Script {
    fn answer(&self, status: u16, retry_after: Option<Duration>) {
        self.answers.lock().unwrap().push_back(Ok(WebhookAnswer {
            status,
            retry_after,
        }));
    }

    async fn sent(&self, count: usize) -> Vec<WebhookMessage> {
        outlast_core::testing::eventually("the messages", || {
            let sent = self.sent.lock().unwrap().clone();
            assert!(sent.len() <= count, "more than {count}: {sent:?}");
            std::future::ready((sent.len() == count).then_some(sent))
        })
        .await
    }
}

impl WebhookSender for Script {
    fn admit(&self, url: &str) -> Result<String, String> {
        let rest = url.strip_prefix("https://").ok_or("https only")?;
        Ok(format!("https://{}", rest.split('/').next().unwrap()))
    }

    fn send(&self, message: WebhookMessage) -> BoxFuture<'_, Result<WebhookAnswer, String>> {
        let silent = *self.silent.lock().unwrap();
        let never = silent.is_some_and(|silent| message.url.starts_with(silent));
        self.sent.lock().unwrap().push(message);
        if never {
            return Box::pin(std::future::pending());
        }
        let next = self.answers.lock().unwrap().pop_front();
        let usual = Ok(WebhookAnswer {
            status: 200,
            retry_after: None,
        });
        Box::pin(std::future::ready(next.unwrap_or(usual)))
    }
}

struct Rig {
    engine: Engine,
    handle: Handle,
    script: Arc<Script>,
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
}

fn server(tools: &[&str]) -> ServerWebhook {
    ServerWebhook {
        url: "https://ops.example/hook".into(),
        secret: KEY.parse().unwrap(),
        events: WebhookEvent::ALL.into(),
        tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        private: true,
    }
}

async fn rig<F, Fut>(server: Vec<ServerWebhook>, work: F) -> Rig
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = outlast_engine::Result<String>> + Send + 'static,
{
    rig_of(server, tool(work)).await
}

async fn rig_of(server: Vec<ServerWebhook>, tool: Tool) -> Rig {
    let script = Arc::new(Script::default());
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let names = (0..).map(|number| format!("hook {number}"));
    let webhooks = Webhooks {
        sender: Arc::clone(&script) as Arc<dyn WebhookSender>,
        server: names.zip(server).collect(),
        secret: None,
        public_url: Some("https://tasks.example".into()),
    };
    let engine = builder(&store, tool).webhooks(webhooks).start();
    let engine = engine.await.unwrap();
    Rig {
        handle: engine.handle(),
        engine,
        script,
        clock,
        store,
    }
}

async fn quick(_: Cx) -> outlast_engine::Result<String> {
    Ok("done".into())
}

fn hook() -> NewWebhook {
    NewWebhook {
        secret: Some(KEY.parse().unwrap()),
        ..NewWebhook::new("https://me.example/hook?token=1234")
    }
}

impl Rig {
    fn told(&self) -> NewCall {
        NewCall {
            webhooks: self.handle.admit_webhooks(vec![hook()]).unwrap(),
            ..call(&self.handle)
        }
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.engine.run_due();
    }

    /// The task's only delivery, once it is as `wanted` says.
    async fn delivery(&self, id: TaskId, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
        outlast_core::testing::eventually("the delivery", || async {
            let task = self.store.get(id).await.unwrap()?;
            let delivery = task.state.deliveries.first()?.clone();
            wanted(&delivery).then_some(delivery)
        })
        .await
    }
}

fn body(message: &WebhookMessage) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

#[tokio::test]
async fn the_end_of_a_task_is_told_and_signed() {
    let rig = rig(vec![], quick).await;
    let call = NewCall {
        labels: BTreeMap::from([("team".into(), "x".into())]),
        ..rig.told()
    };
    let id = rig.handle.create(call).await.unwrap().id();
    let message = rig.script.sent(1).await.remove(0);
    assert_eq!(message.url, "https://me.example/hook?token=1234");
    assert_eq!(message.trust, Trust::Caller);
    let told = body(&message);
    assert_eq!(told["type"], "task.completed");
    let data = &told["data"];
    assert_eq!(data["taskId"], id.to_string());
    assert_eq!(data["status"], "completed");
    assert_eq!(data["isError"], false);
    assert_eq!(data["tool"], "work");
    assert_eq!(data["labels"]["team"], "x");
    assert_eq!(data["url"], format!("https://tasks.example/tasks/{id}"));
    assert!(!message.body.contains("done"), "results stay here");
    let header = |name: &str| {
        let found = message.headers.iter().find(|(known, _)| *known == name);
        found.unwrap().1.clone()
    };
    let task = finished(&rig.handle, id).await;
    let delivery = &task.state.deliveries[0];
    assert_eq!(header("webhook-id"), delivery.id(id));
    let seconds = rig.clock.now().as_millis() / 1000;
    assert_eq!(header("webhook-timestamp"), seconds.to_string());
    let key: SigningKey = KEY.parse().unwrap();
    let signature = key.sign(&delivery.id(id), seconds, &message.body);
    assert_eq!(header("webhook-signature"), signature);
    let told = rig.delivery(id, |delivery| !delivery.is_pending()).await;
    assert_eq!(told.state, DeliveryState::Delivered);
    assert_eq!(told.latest[0].status, Some(200));
    assert_eq!(rig.handle.figures().webhooks["delivered"], 1);
}

#[tokio::test]
async fn nothing_of_an_address_stands_in_the_record_but_its_origin() {
    let rig = rig(vec![], quick).await;
    let task = rig.handle.create(rig.told()).await.unwrap();
    let text = serde_json::to_string(&*task.spec).unwrap();
    assert!(text.contains("https://me.example"), "{text}");
    for secret in ["1234", "hook?", "MfKQ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_id() {
    let rig = rig(vec![], quick).await;
    rig.script.answer(500, None);
    rig.script.answer(503, Some(Duration::from_secs(100)));
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    let first = rig.delivery(id, |delivery| delivery.attempts == 1).await;
    let DeliveryState::Pending { next_at } = first.state else {
        panic!("it is tried again: {first:?}");
    };
    let wait = next_at.since(rig.clock.now());
    assert!((2..=5).contains(&wait.as_secs()), "{wait:?}");
    assert!(first.latest[0].error.as_deref().unwrap().contains("500"));
    rig.advance(wait);
    let second = rig.delivery(id, |delivery| delivery.attempts == 2).await;
    let next_at = rig.clock.now() + Duration::from_secs(100);
    assert_eq!(second.state, DeliveryState::Pending { next_at });
    rig.advance(Duration::from_secs(100));
    let told = rig.delivery(id, |delivery| delivery.attempts == 3).await;
    assert_eq!(told.state, DeliveryState::Delivered);
    let sent = rig.script.sent(3).await;
    for again in &sent[1..] {
        assert_eq!(again.headers[0], sent[0].headers[0], "one id");
        assert_eq!(again.body, sent[0].body, "one message");
        assert_ne!(
            again.headers[1..],
            sent[0].headers[1..],
            "a time of its own"
        );
    }
}

#[tokio::test]
async fn a_receiver_is_given_up_after_a_day() {
    let rig = rig(vec![], quick).await;
    rig.script.answer(500, None);
    rig.script.answer(500, None);
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    rig.delivery(id, |delivery| delivery.attempts == 1).await;
    rig.advance(GIVE_UP_AFTER - Duration::from_secs(1));
    let last = rig.delivery(id, |delivery| delivery.attempts == 2).await;
    assert_eq!(last.state, DeliveryState::Failed);
    assert_eq!(rig.handle.figures().webhooks["failed"], 2);
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_gets_no_more() {
    let rig = rig(vec![], |cx: Cx| async move {
        let question = InputRequest::new("a", "elicitation/create", RawJson::empty_object());
        cx.ask_raw(question).await.map(|_| String::new())
    });
    let rig = rig.await;
    rig.script.answer(410, None);
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    let asked = body(&rig.script.sent(1).await[0]);
    assert_eq!(asked["type"], "task.input_required");
    assert_eq!(asked["data"]["status"], "input_required");
    rig.delivery(id, |delivery| !delivery.is_pending()).await;
    let by = outlast_engine::CancelBy::Request;
    rig.handle
        .cancel(&Owner::local(), id, None, by)
        .await
        .unwrap();
    let task = finished(&rig.handle, id).await;
    assert_eq!(task.state.deliveries.len(), 1, "its end is not told");
}

#[tokio::test]
async fn the_servers_own_hear_of_every_task_of_their_tools() {
    let rig = rig(vec![server(&[]), server(&["other"])], quick).await;
    let id = rig.handle.create(call(&rig.handle)).await.unwrap().id();
    let message = rig.script.sent(1).await.remove(0);
    assert_eq!(message.url, "https://ops.example/hook");
    assert_eq!(message.trust, Trust::Settings { private: true });
    let task = finished(&rig.handle, id).await;
    let to: Vec<_> = task.spec.webhooks.iter().map(|hook| &hook.to).collect();
    assert_eq!(to, [&Receiver::Server("hook 0".into())]);
}

#[tokio::test]
async fn children_are_their_parents_matter() {
    let parents = Arc::new(AtomicBool::new(true));
    let rig = rig(vec![server(&[])], move |cx: Cx| {
        let parent = parents.swap(false, Ordering::Relaxed) || cx.attempt() > 1;
        async move {
            if parent {
                cx.spawn("work", serde_json::json!({})).detach().await?;
            }
            Ok("done".into())
        }
    });
    let rig = rig.await;
    let id = rig.handle.create(call(&rig.handle)).await.unwrap().id();
    finished(&rig.handle, id).await;
    rig.delivery(id, |delivery| !delivery.is_pending()).await;
    assert_eq!(rig.script.sent(1).await.len(), 1);
}

#[tokio::test]
async fn a_retried_call_tells_the_same_receivers() {
    let rig = rig(vec![], quick).await;
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    finished(&rig.handle, id).await;
    let again = rig.handle.retry(&Owner::local(), id).await.unwrap();
    let sent = rig.script.sent(2).await;
    let urls: Vec<_> = sent.iter().map(|message| message.url.as_str()).collect();
    assert_eq!(urls[0], urls[1]);
    assert_ne!(sent[0].headers[0], sent[1].headers[0]);
    finished(&rig.handle, again.id()).await;
}

#[tokio::test]
async fn every_call_that_a_task_took_in_is_told_at_its_own_address() {
    let delay = Duration::from_secs(10);
    let then = Then::Debounce {
        delay,
        at_most: None,
    };
    let order = Order {
        same: Some(Sameness { per: None, then }),
        ..Order::default()
    };
    let tool = Tool {
        order,
        ..tool(quick)
    };
    let rig = rig_of(vec![], tool).await;
    let of = |caller: &str| {
        let url = format!("https://{caller}.example/hook");
        let wanted = NewWebhook { url, ..hook() };
        NewCall {
            webhooks: rig.handle.admit_webhooks(vec![wanted]).unwrap(),
            ..call(&rig.handle)
        }
    };
    let first = rig.handle.create(of("first")).await.unwrap().id();
    let second = rig.handle.create(of("second")).await.unwrap().id();
    assert_eq!(first, second);
    rig.advance(delay);
    let sent = rig.script.sent(2).await;
    let urls: BTreeSet<_> = sent.iter().map(|message| &*message.url).collect();
    assert_eq!(
        urls,
        BTreeSet::from(["https://first.example/hook", "https://second.example/hook"])
    );
    // And a retry, which names all of them again.
    finished(&rig.handle, first).await;
    rig.handle.retry(&Owner::local(), first).await.unwrap();
    rig.advance(delay);
    rig.script.sent(4).await;
}

#[tokio::test]
async fn a_process_knows_how_long_it_owes_messages() {
    let rig = rig(vec![], quick).await;
    assert!(rig.handle.owes_messages(), "what others left is not known");
    rig.advance(Duration::from_secs(2 * 60 * 60));
    assert!(!rig.handle.owes_messages());

    rig.script
        .answer(503, Some(Duration::from_secs(6 * 60 * 60)));
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    rig.delivery(id, |delivery| delivery.attempts == 1).await;
    rig.clock.advance(Duration::from_secs(5 * 60 * 60));
    assert!(rig.handle.owes_messages(), "it is tried again in an hour");
    rig.advance(Duration::from_secs(60 * 60));
    rig.delivery(id, |delivery| !delivery.is_pending()).await;
    rig.clock.advance(Duration::from_secs(10 * 60));
    outlast_core::testing::eventually("nothing on its way", || {
        std::future::ready((!rig.handle.owes_messages()).then_some(()))
    })
    .await;

    let none = crate::support::engine(tool(quick)).await;
    assert!(!none.handle().owes_messages(), "it sends none at all");
}

#[tokio::test]
async fn the_end_that_a_clean_stop_waited_for_is_told() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let rig = rig(vec![], move |_| {
        let gate = Arc::clone(&gate);
        async move {
            let _ = gate.acquire().await;
            Ok("done".into())
        }
    })
    .await;
    let id = rig.handle.create(rig.told()).await.unwrap().id();
    eventually(&rig.handle, id, |task| task.state.started_at.is_some()).await;
    let Rig { engine, script, .. } = rig;
    let stop = tokio::spawn(engine.stop(Duration::from_secs(60)));
    go.add_permits(1);
    let stopped = stop.await.unwrap();
    assert_eq!(script.sent(1).await.len(), 1);
    stopped.close().await.unwrap();
}

#[tokio::test]
async fn one_origin_that_does_not_answer_does_not_hold_up_another() {
    let rig = rig(vec![], quick).await;
    const SLOW: &str = "https://slow.example/";
    *rig.script.silent.lock().unwrap() = Some(SLOW);
    let of = |url: String| {
        let wanted = NewWebhook { url, ..hook() };
        NewCall {
            webhooks: rig.handle.admit_webhooks(vec![wanted]).unwrap(),
            ..call(&rig.handle)
        }
    };
    // Each has an address of its own, as calls do.
    for number in 0..100 {
        let slow = of(format!("{SLOW}hook?job={number}"));
        rig.handle.create(slow).await.unwrap();
    }
    outlast_core::testing::eventually("all places of one receiver", || {
        let sent = rig.script.sent.lock().unwrap();
        let slow = sent.iter().filter(|message| message.url.starts_with(SLOW));
        std::future::ready((slow.count() >= 8).then_some(()))
    })
    .await;
    let good = of("https://good.example/hook".into());
    let id = rig.handle.create(good).await.unwrap().id();
    let told = rig.delivery(id, |delivery| !delivery.is_pending()).await;
    assert_eq!(told.state, DeliveryState::Delivered);
    assert_eq!(told.taken, 1, "it was not put back");
}

#[tokio::test]
async fn a_waiting_caller_with_a_webhook_has_a_task() {
    let rig = rig(vec![], quick).await;
    rig.handle.call(rig.told(), None, OnDrop::Continue).await;
    assert_eq!(rig.script.sent(1).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let rig = rig(vec![], quick).await;
    let refused = |wanted: Vec<NewWebhook>| {
        let Err(Error::Invalid(why)) = rig.handle.admit_webhooks(wanted) else {
            panic!("it is refused");
        };
        why
    };
    let http = NewWebhook {
        url: "http://me.example".into(),
        ..hook()
    };
    assert!(refused(vec![http]).contains("https only"));
    let unsigned = NewWebhook {
        secret: None,
        ..hook()
    };
    assert!(refused(vec![unsigned]).contains("whsec_"));
    let of_nothing = NewWebhook {
        events: std::collections::BTreeSet::new(),
        ..hook()
    };
    assert!(refused(vec![of_nothing]).contains("events"));
    let long = NewWebhook {
        url: format!("https://me.example/{}", "x".repeat(3000)),
        ..hook()
    };
    assert!(refused(vec![long]).contains("2048"));
    assert!(refused(vec![hook(); 9]).contains("at most 8"));
    let engine = crate::support::engine(tool(quick)).await;
    let none = engine.handle().admit_webhooks(vec![hook()]);
    assert!(matches!(none, Err(Error::Invalid(why)) if why.contains("sends none")));
    eventually(
        &rig.handle,
        rig.handle.create(rig.told()).await.unwrap().id(),
        |task| task.is_finished(),
    )
    .await;
}
