"""What exporters of metrics show, read back from the real SDK and scrapes."""

import urllib.request
from contextlib import contextmanager

import drivers
import pytest

POOL = "db.client.connection.pool.name"
STATE = "db.client.connection.state"
FACTS = {
    "count", "idle.max", "idle.min", "max", "pending_requests", "timeouts"}
TIMES = {"create_time", "wait_time", "use_time"}


class Telemetry:
    """Providers of the SDK of OpenTelemetry that keep all in memory."""

    def __init__(self):
        metrics = drivers.load("opentelemetry.sdk.metrics")
        export = drivers.load("opentelemetry.sdk.metrics.export")
        trace = drivers.load("opentelemetry.sdk.trace")
        memory = drivers.load(
            "opentelemetry.sdk.trace.export.in_memory_span_exporter")
        self._times = {}
        self.reader = export.InMemoryMetricReader()
        self.meters = metrics.MeterProvider([self.reader])
        self.spans = memory.InMemorySpanExporter()
        self.tracers = trace.TracerProvider()
        self.tracers.add_span_processor(drivers.load(
            "opentelemetry.sdk.trace.export").SimpleSpanProcessor(self.spans))

    def instruments(self):
        """Return the metrics that have values, by their names."""
        data = self.reader.get_metrics_data()
        found = {} if data is None else {
            metric.name[len("db.client.connection."):]: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics for metric in scope.metrics}
        # releases for Python 3.7 show only those that were measured since then
        self._times.update(
            (name, found[name]) for name in TIMES & found.keys())
        return {**self._times, **found}

    def points(self, name, pool=None):
        """Return the points of a metric, if need be those of a pool."""
        metric = self.instruments().get(name)
        return [] if metric is None else [
            point for point in metric.data.data_points
            if pool in {None, point.attributes[POOL]}]

    def value(self, name, pool=None, **attributes):
        """Return the only value of a metric, None if there is none."""
        values = [
            point.value for point in self.points(name, pool)
            if attributes.items() <= point.attributes.items()]
        assert len(values) <= 1
        return values[0] if values else None

    def states(self, pool=None):
        """Return how many connections are idle, and in use."""
        return tuple(
            self.value("count", pool, **{STATE: state})
            for state in ("idle", "used"))

    def times(self, name, pool=None):
        """Return how often a time was measured."""
        return sum(point.count for point in self.points(name, pool))

    def waits(self):
        """Return the spans of waits."""
        return [
            span for span in self.spans.get_finished_spans()
            if span.name == "pool.acquire"]


@contextmanager
def served(registry):
    """Return a function that scrapes a registry by HTTP."""
    exporter = drivers.load("prometheus_client").start_http_server(
        0, addr="127.0.0.1", registry=registry)
    if exporter is None:
        pytest.skip("a server of this release cannot be stopped")
    server, thread = exporter

    def scrape():
        with urllib.request.urlopen(
                f"http://127.0.0.1:{server.server_port}/metrics",
                timeout=60) as answer:
            return parsed(answer.read().decode())
    try:
        yield scrape
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def parsed(text):
    """Return the values of a scrape, by their names and labels."""
    parser = drivers.load("prometheus_client.parser")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples}
