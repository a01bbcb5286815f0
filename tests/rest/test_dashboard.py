"""The dashboard in contrib asks for figures that the server has."""

import json
import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client import Api
from place import Place

NAME = re.compile(r"\bmoat_[a-z_]+")
FUNCTIONS = {"sum", "by", "rate", "histogram_quantile", "label_values"}


@pytest.fixture(scope="module")
def dashboard(root):
    return json.loads((root / "contrib" / "grafana-dashboard.json").read_text())


@pytest.fixture(scope="module")
def samples(build, tmp_path_factory):
    """Name -> labels of every sample, of a server in which something of each kind has happened."""
    place = Place(build, tmp_path_factory.mktemp("dashboard"))
    place.have("echo")
    api = Api(place)
    try:
        api.ask("POST", "/api/plugins/execute/echo/echo", {})
        api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {})
        found = {}
        for family in text_string_to_metric_families(api.ask("GET", "/metrics").text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found
    finally:
        place.close()


def expressions(dashboard):
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            yield panel["title"], target
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], {"expr": variable["query"], "legendFormat": ""}


def unknown(samples, expression):
    """What of it the server does not have: names, and labels of those names."""
    names = NAME.findall(expression)
    labels = set(re.findall(r"([a-z_]+)=~?\"", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",")}
    missing = [name for name in names if name not in samples]
    have = set().union(*(samples.get(name, set()) for name in names)) if names else set()
    return missing + sorted(labels - have)


def test_every_figure_is_there(dashboard, samples):
    wrong = []
    for title, target in expressions(dashboard):
        wrong += [f"{title}: {name}" for name in unknown(samples, target["expr"])]
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        have = set().union(*(samples[name] for name in NAME.findall(target["expr"]) if name in samples))
        wrong += [f"{title}: label {label}" for label in labels - have]
    assert not wrong, "\n".join(wrong)


def test_what_is_not_there_is_found(samples):
    """A control: were nothing looked at, nothing would be wrong."""
    assert unknown(samples, 'rate(moat_plugin_execution_total{plugin="x"}[5m])') == ["moat_plugin_execution_total", "plugin"]
    assert unknown(samples, 'sum by (colour) (moat_plugin_queued{shape=~"x"})') == ["colour", "shape"]
    assert unknown(samples, 'sum by (plugin) (moat_plugin_queued)') == []


def test_panels_do_not_overlap(dashboard):
    taken, ids = {}, set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24 and panel["id"] not in ids
        ids.add(panel["id"])
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_it_names_no_server(dashboard):
    """Whoever imports it chooses the source."""
    for title, target in expressions(dashboard):
        assert target.get("datasource", {"uid": "${datasource}"})["uid"] == "${datasource}", title
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
