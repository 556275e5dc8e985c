//! What a server that runs as a program says of itself: its log, and traces and metrics for a collector.
//!
//! Only a program sets these up, for they are the process's. A larger program that a server is started in has a
//! log of its own, and gives the spans of tasks to its own collector (`outlast::otel::layer`).

use tracing_subscriber::filter::LevelFilter;

use super::Server;
use crate::error::StartError;
use crate::settings::{LogFormat, LogLevel, Settings};

impl Server {
    /// Where traces and metrics are sent, if anywhere.
    #[cfg(feature = "otlp")]
    pub(super) fn collector(
        &self,
        settings: &Settings,
    ) -> Result<Option<outlast_otel::Options>, StartError> {
        let endpoint = settings.otlp_endpoint.as_ref().map(|url| url.as_str());
        let options = outlast_otel::Options::from_env(&self.name, &self.version, endpoint);
        options.map_err(|wrong| StartError::new(wrong.to_string()))
    }

    /// Nothing is sent by this build.
    #[cfg(not(feature = "otlp"))]
    pub(super) fn collector(&self, _settings: &Settings) -> Result<(), StartError> {
        Ok(())
    }

    /// Begins to log and, where the settings say so, to send. An application that has a log of its own keeps it.
    #[cfg(feature = "otlp")]
    pub(super) fn observe(&mut self, settings: &Settings) -> Result<(), StartError> {
        use tracing_subscriber::Layer as _;
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;

        use crate::bridge;
        use crate::settings::StdioMode;

        // What only carries lines has nothing to send.
        let carries = settings.stdio == Some(StdioMode::Bridge) && bridge::stage().is_none();
        let Some(options) = self.collector(settings)?.filter(|_| !carries) else {
            start_log(settings);
            return Ok(());
        };
        let telemetry = outlast_otel::Telemetry::start(options);
        let telemetry = telemetry.map_err(|wrong| StartError::new(wrong.to_string()))?;
        let (level, ansi) = (level(settings), on_a_terminal());
        let lines = tracing_subscriber::fmt::layer()
            .log_internal_errors(false)
            .with_writer(std::io::stderr);
        let lines = match settings.log_format.unwrap_or_default() {
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .boxed(),
            LogFormat::Text => lines.with_ansi(ansi).boxed(),
        };
        let _ = tracing_subscriber::registry()
            .with(lines.with_filter(level))
            .with(telemetry.layer())
            .try_init();
        self.telemetry = Some(std::sync::Arc::new(telemetry));
        Ok(())
    }

    /// Begins to log.
    #[cfg(not(feature = "otlp"))]
    pub(super) fn observe(&mut self, settings: &Settings) -> Result<(), StartError> {
        start_log(settings);
        // A variable of the whole machine is no reason not to start.
        if let Some(url) = &settings.otlp_endpoint {
            tracing::warn!(
                "{} gets no traces and no metrics: this program was built without the feature otlp",
                url.as_str()
            );
        }
        Ok(())
    }
}

fn start_log(settings: &Settings) {
    let log = tracing_subscriber::fmt()
        .with_max_level(level(settings))
        // A line that cannot be written (the disk is full, whoever read it is gone) is lost. To tell of that on
        // the same stream would panic whoever logs.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let _ = match settings.log_format.unwrap_or_default() {
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => log.with_ansi(on_a_terminal()).try_init(),
    };
}

fn on_a_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

fn level(settings: &Settings) -> LevelFilter {
    match settings.log_level.unwrap_or(LogLevel::Info) {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
