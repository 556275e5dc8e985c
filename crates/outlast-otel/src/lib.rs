//! Traces and metrics for OpenTelemetry collectors.
//!
//! A crate of its own, because nobody should have to build an SDK to run tasks: a server without it has its spans
//! (of `tracing`) and its figures (`/metrics`) all the same, and this carries them away. Traces take the way that
//! the SDK's own crates offer: a layer over spans, a batch, OTLP. Metrics do not: what has been counted is counted
//! already, with its distributions, and one list of it is told to Prometheus ([`outlast_http::figures`]). Counting
//! it a second time with the SDK's instruments could only tell something else, so that same list is written as an
//! OTLP message.
//!
//! OTLP is spoken as protobuf over HTTP, the protocol's default, with the HTTP client that Outlast has anyway.
//! Settings are those of the OpenTelemetry specification, from the environment (`OTEL_*`): [`Options::from_env`].
//!
//! A program that has an SDK of its own gives its provider to [`layer`] and has the spans of tasks among its own.

mod metrics;
mod options;
mod send;
mod spans;

use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use outlast_http::figures::Snapshot;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use options::{Options, Wrong};
pub use spans::layer;

use send::Sender;

/// How long the last batch may take.
const LAST_BATCH: Duration = Duration::from_secs(5);

/// What carries the traces and metrics of one process away.
pub struct Telemetry {
    options: Options,
    provider: Option<SdkTracerProvider>,
    sender: Sender,
}

impl Telemetry {
    /// Begins to send what `options` say. Nothing is connected before there is something to send, and a
    /// collector that cannot be reached holds nothing up: what it misses is lost, and said in the log once.
    ///
    /// # Errors
    /// A setting that cannot hold; the sentence begins with its name.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: Options) -> Result<Self, Wrong> {
        let sender = Sender::new(options.timeout)?;
        let provider = match &options.traces {
            None => None,
            Some(address) => {
                let exporter = SpanExporter::builder()
                    .with_http()
                    .with_http_client(sender.clone())
                    .with_endpoint(address)
                    .with_timeout(options.timeout)
                    .build()
                    .map_err(|error| Wrong::new(address, error))?;
                let provider = SdkTracerProvider::builder()
                    .with_resource(options.resource())
                    .with_batch_exporter(exporter);
                Some(provider.build())
            }
        };
        Ok(Self {
            options,
            provider,
            sender,
        })
    }

    /// What gathers spans; see [`layer`]. `None` if traces are not sent.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        self.provider.as_ref().map(layer)
    }

    /// Sends the figures that `read` takes, again and again, until it is dropped. Returns at once if metrics are
    /// not sent. Figures that cannot be read are sent the next time.
    ///
    /// # Cancel safety
    /// Dropping it ends it.
    pub async fn push<F, Fut>(&self, read: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Option<Snapshot>>,
    {
        if self.options.metrics.is_none() {
            return;
        }
        loop {
            tokio::time::sleep(self.options.interval).await;
            if let Some(figures) = read().await {
                self.send(&figures).await;
            }
        }
    }

    /// Sends what there still is: spans that wait for their batch, and the figures of the end. Takes a few
    /// seconds at most.
    pub async fn finish(&self, figures: Option<Snapshot>) {
        let provider = self.provider.clone();
        let spans = tokio::task::spawn_blocking(move || {
            if let Some(provider) = provider {
                // What was not sent has been told in the log.
                let _ = provider.shutdown_with_timeout(LAST_BATCH);
            }
        });
        if let Some(figures) = figures {
            let _ = tokio::time::timeout(LAST_BATCH, self.send(&figures)).await;
        }
        let _ = spans.await;
    }

    async fn send(&self, figures: &Snapshot) {
        let Some(address) = &self.options.metrics else {
            return;
        };
        let message = metrics::message(figures, &self.options.resource());
        self.sender
            .post(address, &self.options.headers, message)
            .await;
    }
}
