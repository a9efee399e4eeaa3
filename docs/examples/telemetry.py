"""A pool tells OpenTelemetry how it is used, and which requests have waited.

Here all is printed when the program ends; a program that stays sends it to a
collector, by the exporters of the package opentelemetry-exporter-otlp.
"""

from database import execute, pool
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    PeriodicExportingMetricReader,
)

from dbutils import otel

provider = MeterProvider([
    PeriodicExportingMetricReader(ConsoleMetricExporter())])
otel.instrument_all(provider)

with pool.connection() as db:
    execute(db, "select 1").fetchone()

provider.shutdown()
