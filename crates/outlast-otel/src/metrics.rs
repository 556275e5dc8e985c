//! The figures of a server as a message of OTLP.
//!
//! Names are those of `/metrics` without what Prometheus puts at their ends: there `_total` says that something
//! only grows and `_seconds` what it is measured in; here the message has fields for both, and a collector that
//! serves Prometheus puts them back.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_sdk::Resource;
use outlast_engine::Histogram;
use outlast_http::figures::{Family, Kind, Sample, Snapshot, Value};
use prost::Message as _;

/// All the while since the process began, as the figures are counted.
const CUMULATIVE: i32 = proto::AggregationTemporality::Cumulative as i32;

/// The message, encoded.
pub(crate) fn message(figures: &Snapshot, resource: &Resource) -> Vec<u8> {
    request(figures, resource).encode_to_vec()
}

fn request(figures: &Snapshot, resource: &Resource) -> ExportMetricsServiceRequest {
    let attributes = resource.iter();
    let attributes = attributes.map(|(key, value)| attribute(key.as_str(), &value.as_str()));
    let families = figures.families.iter();
    let families = families.filter(|family| !family.samples.is_empty());
    ExportMetricsServiceRequest {
        resource_metrics: vec![proto::ResourceMetrics {
            resource: Some(ProtoResource {
                attributes: attributes.collect(),
                ..ProtoResource::default()
            }),
            scope_metrics: vec![proto::ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "outlast".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    ..InstrumentationScope::default()
                }),
                metrics: families.map(|family| metric(family, figures)).collect(),
                ..proto::ScopeMetrics::default()
            }],
            ..proto::ResourceMetrics::default()
        }],
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AttributeValue::StringValue(value.to_owned()));
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
        ..KeyValue::default()
    }
}

fn metric(family: &Family, figures: &Snapshot) -> proto::Metric {
    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
    let (name, unit) = match name.strip_suffix("_seconds") {
        Some(name) => (name, "s"),
        None => (name, ""),
    };
    let nanos = |millis: i64| u64::try_from(millis).unwrap_or_default() * 1_000_000;
    let span = (
        nanos(figures.since.as_millis()),
        nanos(figures.at.as_millis()),
    );
    let samples = family.samples.iter();
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(proto::Gauge {
            data_points: samples.filter_map(|sample| number(sample, span)).collect(),
        }),
        Kind::Counter => Data::Sum(proto::Sum {
            data_points: samples.filter_map(|sample| number(sample, span)).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Histogram => Data::Histogram(proto::Histogram {
            data_points: samples.filter_map(|sample| times(sample, span)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    proto::Metric {
        name: name.to_owned(),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..proto::Metric::default()
    }
}

fn labels(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter();
    labels.map(|(name, value)| attribute(name, value)).collect()
}

fn number(sample: &Sample, (since, at): (u64, u64)) -> Option<proto::NumberDataPoint> {
    let Value::Number(value) = sample.value else {
        return None;
    };
    Some(proto::NumberDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: since,
        time_unix_nano: at,
        value: Some(Number::AsDouble(value)),
        ..proto::NumberDataPoint::default()
    })
}

fn times(sample: &Sample, (since, at): (u64, u64)) -> Option<proto::HistogramDataPoint> {
    let Value::Times(times) = &sample.value else {
        return None;
    };
    let (explicit_bounds, bucket_counts) = buckets(times);
    Some(proto::HistogramDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: since,
        time_unix_nano: at,
        count: times.count(),
        sum: Some(times.sum()),
        bucket_counts,
        explicit_bounds,
        ..proto::HistogramDataPoint::default()
    })
}

/// Bounds, and how many times lie in each bucket alone, the last of which has no bound.
fn buckets(times: &Histogram) -> (Vec<f64>, Vec<u64>) {
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for (bound, count) in times.buckets() {
        bounds.push(bound);
        counts.push(count - below);
        below = count;
    }
    counts.push(times.count() - below);
    (bounds, counts)
}
