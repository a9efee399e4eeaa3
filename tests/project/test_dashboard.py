"""The dashboard for Grafana shows what is exported."""

import json
import re
import sqlite3

import drivers
import pytest
from folders import DOCS

from dbutils.pooled_db import PooledDB

pytestmark = [
    # with the newest Python only, where the package is installed
    pytest.mark.slow, pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests")]


@pytest.fixture(scope="module")
def dashboard():
    text = (DOCS / "grafana" / "dbutils.json").read_text(encoding="utf-8")
    return json.loads(text)


@pytest.fixture(scope="module")
def samples():
    """All that is exported of a pool that is in use."""
    drivers.load("prometheus_client")
    from dbutils.prometheus import Collector
    with PooledDB(
            sqlite3, maxconnections=1, database=":memory:",
            track=True) as pool:
        collector = Collector(pool)
        with pool.connection():
            found = [
                sample for metric in collector.collect()
                for sample in metric.samples]
        collector.close()
    return found


def expressions_in(dashboard):
    """Yield the expressions of all panels, and those of the variables."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


# Words of the query language and of Grafana.
LANGUAGE = {
    "by", "histogram_quantile", "label_values", "pool", "rate", "sum", "topk",
    "__rate_interval"}


def words_in(text):
    return set(re.findall(r"[A-Za-z_]\w*", text)) - LANGUAGE


def test_all_names_in_the_dashboard_are_exported(dashboard, samples):
    names = {sample.name for sample in samples}
    labels = {label for sample in samples for label in sample.labels}
    used = set()
    for expression in expressions_in(dashboard):
        assert words_in(expression) <= names | labels, expression
        used |= words_in(expression)
    shown = {
        word for panel in dashboard["panels"] for target in panel["targets"]
        for word in re.findall(r"{{(\w+)}}", target["legendFormat"])}
    assert shown <= labels
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in names} <= {
        re.sub("_(bucket|count|sum)$", "", name) for name in used} | {
            "db_client_connection_idle_max", "db_client_connection_idle_min"}


def test_each_metric_in_the_dashboard_has_the_labels_it_is_asked_for(
        dashboard, samples):
    labels = {sample.name: set(sample.labels) for sample in samples}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            name, = words_in(target["expr"]) & labels.keys()
            assert words_in(target["expr"]) - {name} <= labels[name]


def test_the_times_are_shown_as_three_quantiles(dashboard):
    text = json.dumps(dashboard)
    for name in "create_time", "wait_time", "use_time":
        for quantile in "0.5", "0.95", "0.99":
            assert re.search(
                rf"histogram_quantile\({quantile}, [^\"]*_{name}_seconds_b",
                text)
