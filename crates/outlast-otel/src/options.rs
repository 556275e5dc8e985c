//! Where to send what, by the names that the OpenTelemetry specification gives the settings.
//!
//! Empty variables count as unset, as the specification has it. It wants wrong values passed over with a warning;
//! here they are an error, for whoever sets one waits for traces that never come. What concerns the SDK alone
//! (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`) it reads itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

/// How long a message may take, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often figures are sent, where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(60);

/// A setting that cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct Wrong {
    setting: String,
    why: String,
}

impl Wrong {
    pub(crate) fn new(setting: impl Into<String>, why: impl ToString) -> Self {
        Self {
            setting: setting.into(),
            why: why.to_string(),
        }
    }
}

/// Where to send what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The whole address for traces; without one none are sent.
    pub traces: Option<String>,
    /// The whole address for metrics; without one none are sent.
    pub metrics: Option<String>,
    /// Headers of messages with metrics. (Those for traces the exporter reads from the environment.)
    pub headers: HeaderMap,
    /// How long a message may take.
    pub timeout: Duration,
    /// How often metrics are sent.
    pub interval: Duration,
    /// The name of the service, unless the environment has one.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Tells processes of one service apart.
    instance: String,
}

impl Options {
    /// What the environment says, for a service of this name, with `endpoint` as the address of the collector
    /// where a program has a setting of its own for it, which goes before `OTEL_EXPORTER_OTLP_ENDPOINT`. `None` if nothing is to be sent.
    ///
    /// # Errors
    /// A setting that cannot hold; the sentence begins with its name.
    pub fn from_env(
        name: impl Into<String>,
        version: impl Into<String>,
        endpoint: Option<&str>,
    ) -> Result<Option<Self>, Wrong> {
        let variable = |name: &str| std::env::var(name).ok();
        Self::from(&variable, name.into(), version.into(), endpoint)
    }

    fn from(
        variable: &dyn Fn(&str) -> Option<String>,
        name: String,
        version: String,
        endpoint: Option<&str>,
    ) -> Result<Option<Self>, Wrong> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let disabled = variable("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let base = endpoint
            .map(str::to_owned)
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let address = |signal: &str, path: &str| -> Result<Option<String>, Wrong> {
            let exporter = format!("OTEL_{signal}_EXPORTER");
            match variable(&exporter).as_deref().map(str::trim) {
                None | Some("otlp") => {}
                Some("none") => return Ok(None),
                Some(other) => {
                    let why = format!("{other:?} is not known here; say otlp or none");
                    return Err(Wrong::new(exporter, why));
                }
            }
            let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
            let (setting, address) = match (variable(&own), &base) {
                (Some(address), _) => (own, address),
                (None, Some(base)) => {
                    let base = base.trim_end_matches('/');
                    (
                        "OTEL_EXPORTER_OTLP_ENDPOINT".into(),
                        format!("{base}/{path}"),
                    )
                }
                (None, None) => return Ok(None),
            };
            check_address(&address).map_err(|why| Wrong::new(setting, why))?;
            for protocol in [
                format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"),
                "OTEL_EXPORTER_OTLP_PROTOCOL".into(),
            ] {
                match variable(&protocol).as_deref().map(str::trim) {
                    None | Some("http/protobuf") => {}
                    Some(other) => {
                        let why = format!(
                            "{other:?} is not spoken here; say http/protobuf, to port 4318 of most \
                             collectors"
                        );
                        return Err(Wrong::new(protocol, why));
                    }
                }
            }
            Ok(Some(address))
        };
        let (traces, metrics) = (
            address("TRACES", "v1/traces")?,
            address("METRICS", "v1/metrics")?,
        );
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let millis = |setting: &str, usual: Duration| match variable(setting) {
            None => Ok(usual),
            Some(text) => match text.trim().parse() {
                Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
                _ => {
                    let why = format!("{text:?} is no time; give milliseconds, for example 10000");
                    Err(Wrong::new(setting, why))
                }
            },
        };
        let mut headers = HeaderMap::new();
        for setting in [
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        ] {
            for header in variable(setting).unwrap_or_default().split(',') {
                let header = header.trim();
                if header.is_empty() {
                    continue;
                }
                // The value may be a password: it stands in no message.
                let (name, value) = read_header(header).ok_or_else(|| {
                    Wrong::new(setting, "holds no headers; write name=value,name=value, with percent signs for what is no plain text")
                })?;
                headers.insert(name, value);
            }
        }
        Ok(Some(Self {
            traces,
            metrics,
            headers,
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT)?,
            interval: millis("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL)?,
            name,
            version,
            instance: uuid::Uuid::new_v4().to_string(),
        }))
    }

    /// What the messages say of the process.
    pub(crate) fn resource(&self) -> Resource {
        // What the environment says of the service goes before what the program says.
        let said = Resource::builder().build();
        let named = said.get(&Key::new("service.name"));
        let named = named.filter(|name| !name.as_str().starts_with("unknown_service"));
        let attributes = [
            KeyValue::new("service.version", self.version.clone()),
            KeyValue::new("service.instance.id", self.instance.clone()),
        ];
        let ours = attributes
            .into_iter()
            .filter(|one| said.get(&one.key).is_none());
        let mut resource = Resource::builder().with_attributes(ours);
        if named.is_none() {
            resource = resource.with_service_name(self.name.clone());
        }
        resource.build()
    }
}

fn check_address(text: &str) -> Result<(), String> {
    let uri = text.parse::<Uri>().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if fits {
        return Ok(());
    }
    // It may hold a password, so it is not repeated.
    Err("this is not the address of a collector; write one such as http://localhost:4318".into())
}

/// `name=value`, the value with percent signs for what is no plain text (W3C Baggage).
fn read_header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once('=')?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.trim().bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    let name = name.trim().parse().ok()?;
    let mut value = HeaderValue::from_bytes(&bytes).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], endpoint: Option<&str>) -> Result<Option<Options>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Options::from(&variable, "shop".into(), "1".into(), endpoint)
            .map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn the_endpoint_is_for_both_signals_unless_one_has_its_own() {
        assert!(read(&[], None).unwrap().is_none());
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://box:4318/");
        let both = read(&[base], None).unwrap().unwrap();
        assert_eq!(both.traces.as_deref(), Some("http://box:4318/v1/traces"));
        assert_eq!(both.metrics.as_deref(), Some("http://box:4318/v1/metrics"));
        assert_eq!(both.interval, INTERVAL);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t.example/x");
        let quick = ("OTEL_METRIC_EXPORT_INTERVAL", "250");
        let both = read(&[base, own, quick], Some("http://other"))
            .unwrap()
            .unwrap();
        assert_eq!(
            both.traces.as_deref(),
            Some("https://t.example/x"),
            "as it is"
        );
        assert_eq!(both.metrics.as_deref(), Some("http://other/v1/metrics"));
        assert_eq!(both.interval, Duration::from_millis(250));
        let none = ("OTEL_METRICS_EXPORTER", "none");
        assert!(
            read(&[base, none], None)
                .unwrap()
                .unwrap()
                .metrics
                .is_none()
        );
        assert!(
            read(&[base, ("OTEL_SDK_DISABLED", "true")], None)
                .unwrap()
                .is_none()
        );
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn headers_are_read_as_baggage() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://box");
        let said = (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b, Authorization=Bearer%20x=y ,",
        );
        let headers = read(&[base, said], None).unwrap().unwrap().headers;
        assert_eq!(headers["a"], "b");
        assert_eq!(headers["authorization"], "Bearer x=y");
    }

    #[test]
    fn what_cannot_hold_is_said_with_its_name() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://box");
        for (setting, value, hint) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "box:4318",
                "http://localhost:4318",
            ),
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "ftp://x",
                "http://localhost:4318",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", "name=value"),
        ] {
            let mut variables = vec![(setting, value)];
            variables.push(base);
            let wrong = read(&variables, None).unwrap_err();
            assert!(wrong.starts_with(setting), "{wrong}");
            assert!(wrong.contains(hint), "{wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        }
    }
}
