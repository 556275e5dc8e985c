"""Plays an OpenTelemetry collector, and reads what it is sent with the messages that OpenTelemetry publishes.

A trace begun by a caller, over REST or over MCP, goes on in the server to the attempt; metrics come with their
distributions; what there still is comes at the end.
"""

import sys

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from server import Receiver, Server

CONFIG = """
[server]
name = "rest"
store = "sqlite:tasks.db"
listen = "127.0.0.1:0"
[tools.hello]
description = "Says hello."
command = ["echo", "hello"]
"""

PARENT = "b7ad6b7169203331"


def main(outlast):
    collector = Receiver()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=some%20words",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=ci",
    }
    over_rest, over_mcp = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
    with Server(outlast, CONFIG, **environment) as server:
        context = {"traceparent": f"00-{over_rest}-{PARENT}-01"}
        tasks = {over_rest: server.ask("POST", "/tasks", {"tool": "hello"}, context)["taskId"]}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "otlp", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
            "traceparent": f"00-{over_mcp}-{PARENT}-01",
        }
        call = {"name": "hello", "arguments": {}, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "hello"}
        tasks[over_mcp] = server.ask("POST", "/mcp", message, headers)["result"]["taskId"]
        for task in tasks.values():
            server.ended(task)
        server.stop()
        assert "WARN" not in server.log(), server.log()

    spans, resource = read_traces(collector)
    assert resource["service.name"] == "rest", resource
    assert resource["deployment.environment.name"] == "ci", resource
    for trace, task in tasks.items():
        found = [span for span in spans if span.trace_id.hex() == trace]
        assert sorted(span.name for span in found) == ["attempt", "create"], found
        for span in found:
            assert span.parent_span_id.hex() == PARENT, span
            assert {one.key: one.value.string_value for one in span.attributes}["task"] == task, span
            assert span.start_time_unix_nano <= span.end_time_unix_nano, span
    print(f"traces: {len(spans)} spans")
    check_metrics(collector, resource)


def read_traces(collector):
    spans, resource = [], {}
    for path, headers, body in collector.got:
        if path == "/v1/traces":
            assert headers["content-type"] == "application/x-protobuf", headers
            assert headers["x-key"] == "some words", headers
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = {one.key: one.value.string_value for one in group.resource.attributes}
                spans += [span for scope in group.scope_spans for span in scope.spans]
    return spans, resource


def check_metrics(collector, resource):
    sent = [(headers, body) for path, headers, body in collector.got if path == "/v1/metrics"]
    headers, body = sent[-1]
    assert headers["x-key"] == "some words", headers
    (group,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    same = {one.key: one.value.string_value for one in group.resource.attributes}
    assert same == resource, (same, resource)
    metrics = {metric.name: metric for scope in group.scope_metrics for metric in scope.metrics}
    created = metrics["outlast_tasks_created"].sum
    assert created.is_monotonic and created.aggregation_temporality == 2, created
    assert created.data_points[0].as_double == 2, created
    assert metrics["outlast_slots"].gauge.data_points[0].as_double == 64
    running = metrics["outlast_task_running"]
    assert running.unit == "s", running
    (point,) = running.histogram.data_points
    assert point.count == sum(point.bucket_counts) == 2, point
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, point
    for metric in metrics.values():
        assert metric.description, metric.name
    print(f"metrics: {len(metrics)} of them, {len(sent)} times")


main(sys.argv[1])
