//! One trace from the caller through the queue and a crash to the steps, as the SDK's own exporter sees it.

use std::time::Duration;

use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use outlast::prelude::*;
use outlast::testing::TestServer;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Two steps with a day between them.
#[tool(task)]
async fn report(cx: Cx) -> Result<String> {
    cx.step("gather", || async {
        tracing::info_span!("query").in_scope(|| Ok(()))
    })
    .await?;
    cx.sleep("a day", Duration::from_secs(24 * 3600)).await?;
    cx.step("send", || async { Ok(()) }).await?;
    Ok("sent".into())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key);
    found.map(|one| one.value.to_string()).unwrap_or_default()
}

/// One step, at once.
#[tool]
async fn look(cx: Cx) -> Result<String> {
    cx.step("query", || async { Ok("seen".into()) }).await
}

/// Gathers what happens on this thread.
fn gather() -> (InMemorySpanExporter, tracing::subscriber::DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let subscriber = tracing_subscriber::registry().with(outlast_otel::layer(&provider));
    (exporter, tracing::subscriber::set_default(subscriber))
}

fn from_caller() -> http::HeaderMap {
    let said = format!("00-{TRACE}-{CALLER}-01");
    let said = said.try_into().expect("visible ASCII");
    http::HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), said)])
}

#[tokio::test]
async fn a_call_that_is_no_task_is_in_its_callers_trace() {
    let (exporter, _gathered) = gather();
    let server = TestServer::start(Server::new("looks").tool(look))
        .await
        .unwrap();
    let called = server
        .request(http::Method::POST, "/tools/look", from_caller(), &json!({}))
        .await;
    assert_eq!(called.status, 200, "{called:?}");
    let spans = exporter.get_finished_spans().unwrap();
    let (attempts, steps) = (named(&spans, "attempt"), named(&spans, "step"));
    assert_eq!((attempts.len(), steps.len()), (1, 1), "{spans:?}");
    assert_eq!(attempts[0].span_context.trace_id().to_string(), TRACE);
    assert_eq!(attempts[0].parent_span_id.to_string(), CALLER);
    assert_eq!(attribute(attempts[0], "tool"), "look");
    assert_eq!(steps[0].parent_span_id, attempts[0].span_context.span_id());
}

#[tokio::test]
async fn a_task_is_one_trace_from_its_caller_through_a_crash_to_its_steps() {
    let (exporter, _gathered) = gather();
    let server = TestServer::start(Server::new("reports").tool(report))
        .await
        .unwrap();
    let body = json!({"tool": "report"});
    let created = server
        .request(http::Method::POST, "/tasks", from_caller(), &body)
        .await;
    assert_eq!(created.status, 202, "{created:?}");
    server.run_until_idle().await;
    let server = server.crash().await.unwrap();
    server.advance(Duration::from_secs(24 * 3600)).await;
    let id = created.body["taskId"].as_str().unwrap();
    let task = server.get(&format!("/tasks/{id}")).await;
    assert_eq!(task.body["status"], "completed", "{task:?}");

    let spans = exporter.get_finished_spans().unwrap();
    for span in &spans {
        assert_eq!(span.span_context.trace_id().to_string(), TRACE, "{span:?}");
    }
    let create = named(&spans, "create");
    assert_eq!(create.len(), 1, "{spans:?}");
    assert_eq!(create[0].parent_span_id.to_string(), CALLER);
    assert!(create[0].parent_span_is_remote);
    assert_eq!(attribute(create[0], "tool"), "report");
    assert_eq!(attribute(create[0], "task"), id);

    // Before the sleep, and after it in the successor.
    let attempts = named(&spans, "attempt");
    assert_eq!(attempts.len(), 2, "{spans:?}");
    for attempt in &attempts {
        assert_eq!(attempt.parent_span_id.to_string(), CALLER);
        assert_eq!(attribute(attempt, "task"), id);
    }
    let steps = named(&spans, "step");
    let names: Vec<_> = steps.iter().map(|step| attribute(step, "step")).collect();
    assert_eq!(names, ["gather", "send"], "each ran once");
    for (step, attempt) in steps.iter().zip(&attempts) {
        assert_eq!(step.parent_span_id, attempt.span_context.span_id());
    }
    let query = named(&spans, "query");
    assert_eq!(query[0].parent_span_id, steps[0].span_context.span_id());
}
