"""The dashboards name only metrics that there are, and say what each panel shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Histogram

from gatepost.observe.metrics import TABLE

DASHBOARDS = sorted((Path(__file__).parents[2] / "grafana" / "dashboards").glob("*.json"))
NAMES = {metric.shown_name for metric in TABLE} | {"gatepost_build_info"}
NAMES |= {
    f"{metric.name}_{part}" for metric in TABLE if metric.kind is Histogram for part in ("bucket", "sum", "count")
}


def test_there_is_a_dashboard() -> None:
    assert DASHBOARDS


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_every_metric_it_names_exists(file: Path) -> None:
    named = set(re.findall(r"gatepost_[a-z_]+", file.read_text()))
    assert named
    assert named <= NAMES


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_every_panel_has_a_sentence_a_unit_and_the_chosen_datasource(file: Path) -> None:
    panels: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_rates_are_taken_over_the_interval_that_grafana_chooses(file: Path) -> None:
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel["targets"]:
            for window in re.findall(r"\[([^\]]*)\]", target["expr"]):
                assert window in {"$__rate_interval", "$__range"}
