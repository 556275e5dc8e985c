//! Spans: what is gathered, and how they get a parent from outside.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use outlast_engine::trace::{is_traceparent, on_span};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// Crates whose spans and events are about the sending itself, or about bytes on a wire.
const NOT_OURS: [&str; 5] = ["h2", "hyper", "hyper_util", "opentelemetry", "reqwest"];

/// A layer that gives spans, those of Outlast and those of handlers, to a provider: every span of the level `INFO`
/// and above, with the events inside them. From then on the spans of a task are below the `traceparent` of its
/// caller, in whatever process they happen.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    on_span(set_parent);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("outlast"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(filter_fn(is_told))
}

fn is_told(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO && !NOT_OURS.contains(&crate_name)
}

/// Nothing happens to a span that no layer gathers.
fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        let _ = span.set_parent(context);
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    if !is_traceparent(traceparent) {
        return None;
    }
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let parent = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    // Of the other flags the specification says that they are not to be passed on.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(
        trace,
        parent,
        flags,
        true,
        TraceState::NONE,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_a_parent_elsewhere() {
        let parent = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03").unwrap();
        assert_eq!(
            parent.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(parent.span_id().to_string(), "b7ad6b7169203331");
        assert!(parent.is_remote() && parent.is_sampled());
        assert_eq!(parent.trace_flags().to_u8(), 1);
        let quiet = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap();
        assert!(!quiet.is_sampled());
        assert_eq!(parse("nonsense"), None);
    }
}
