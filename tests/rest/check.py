"""Reads a server's OpenAPI document and its metrics with parsers that nobody here wrote."""

import json
import sys
import time
import urllib.request

from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families


def fetch(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def main(url):
    document = json.loads(fetch(f"{url}/openapi.json"))
    validate(document)
    operations = sum(len(item) for item in document["paths"].values())
    print(f"the document is valid: OpenAPI {document['openapi']}, {operations} operations")

    # Whoever was here before may have paused what there is.
    fetch(f"{url}/queues/resume", {})
    fetch(f"{url}/tools/hello/resume", {})
    task = json.loads(fetch(f"{url}/tasks", {"tool": "hello"}))
    fetch(f"{url}/tasks/{task['taskId']}/result?wait=60s")
    # The end is counted when the attempt's own process has heard of it: a moment after everybody.
    deadline = time.monotonic() + 60
    while True:
        families = {
            family.name: family
            for family in text_string_to_metric_families(fetch(f"{url}/metrics"))
        }
        ended = families["outlast_tasks_ended"].samples
        if any(sample.labels["tool"] == "hello" for sample in ended):
            break
        time.sleep(0.1)
        assert time.monotonic() < deadline, "the end of a task is not in the metrics"
    kinds = {
        "outlast_tasks": "gauge",
        "outlast_queue_depth": "gauge",
        "outlast_tasks_created": "counter",
        "outlast_attempts_retried": "counter",
        "outlast_leases_lost": "counter",
        "outlast_task_waiting_seconds": "histogram",
        "outlast_task_running_seconds": "histogram",
        "outlast_store_call_seconds": "histogram",
        "outlast_mcp_requests": "counter",
    }
    for name, kind in kinds.items():
        assert families[name].type == kind, f"{name} is a {families[name].type}, not a {kind}"
        assert families[name].documentation, f"{name} has no help"
    for family in families.values():
        if family.type == "histogram":
            check_histogram(family)
    print(f"the metrics are valid: {len(families)} families")


def check_histogram(family):
    """Buckets do not decrease, and the last one is the count."""
    last = {}
    for sample in family.samples:
        key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        if sample.name.endswith("_bucket"):
            assert sample.value >= last.get(key, 0), sample
            last[key] = sample.value
        elif sample.name.endswith("_count"):
            assert sample.value == last[key], sample


main(sys.argv[1])
