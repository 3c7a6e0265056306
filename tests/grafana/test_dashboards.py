"""The dashboards speak of what there is: metrics, labels and their values, boards and runbooks."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from gatepost.observe.table import TABLE
from grafana.promql import ANY, KNOWN, complaints, grouped_in, named_in
from peers import require

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUNBOOKS = DOCS / "runbooks"
DOCS_URL = "https://github.com/gatepost/gatepost/blob/main/docs/"
RUNBOOK_URL = re.compile(rf"{re.escape(DOCS_URL)}runbooks/(\w+)\.md")

Board = dict[str, Any]
Panel = dict[str, Any]
BOARDS: dict[str, Board] = {
    file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
}
DRAWN = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]

# Prometheus writes ALERTS itself: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
SHOWN = {
    **KNOWN,
    "ALERTS": {"alertname": ANY, "alertstate": frozenset({"pending", "firing"}), "severity": ANY},
}
ON_EVERY_BOARD = ("Scraped", "Alerts that fired")
NOTHING = "none, or not scraped"

NEED_A_PERSON = {
    "Alerts that fired",
    "Beginnings and endings",  # for the crashed ones
    "Certificates",
    "Crashes",
    "Credentials exposed",
    "Credentials exposed, by network and listener",
    "First certificate to expire",
    "Files refused",
    "Reached now",
    "Scraped",
    "Upstream",
}
MATCHERS = re.compile(r"\{([^{}]*)\}")
BARE = re.compile(r"\b(?:gatepost|process)_\w+\b(?!\{)")  # a metric that nothing is picked of
WINDOW = re.compile(r"(\w+)\([^()\[]*\[([^\]]*)\]")  # the function, and how far it looks back


def expressions(panel: Panel) -> list[str]:
    return [target["expr"] for target in panel.get("targets", [])]


def links(board: Board) -> Iterator[dict[str, Any]]:
    yield from board["links"]
    for panel in board["panels"]:
        yield from panel.get("links", [])


def colours(panel: Panel) -> Iterator[tuple[str, str]]:
    """The series that a panel paints by their names."""
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "color" and override["matcher"]["id"] == "byName" and "fixedColor" in each["value"]:
                yield override["matcher"]["options"], each["value"]["fixedColor"]


# --- each board ---


def test_there_are_three_boards_with_names_of_their_own() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {f"gatepost-{name}" for name in BOARDS}
    assert set(BOARDS) == {"authentication", "traffic-tls", "upstream-health"}


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_written_as_grafana_exports_it(name: str) -> None:
    text = (ROOT / "grafana" / "dashboards" / f"{name}.json").read_text()
    assert text == json.dumps(BOARDS[name], indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_datasource_instance_and_listener_can_be_chosen(board: Board) -> None:
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "instance", "listener"]
    for variable in board["templating"]["list"][1:]:
        assert variable["multi"]
        assert variable["includeAll"]
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked
        assert asked[2] == variable["name"]
        assert complaints(f"sum by ({asked[2]}) ({asked[1]})") == []


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_have_places_and_numbers_of_their_own(board: Board) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    assert [(place["y"], place["x"]) for place in places] == sorted((place["y"], place["x"]) for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_links_lead_to_boards_and_runbooks_that_there_are(board: Board) -> None:
    boards = [link for link in board["links"] if link["url"].startswith("/d/")]
    assert {link["url"] for link in boards} == {f"/d/gatepost-{name}" for name in BOARDS} - {f"/d/{board['uid']}"}
    assert all(link["keepTime"] and link["includeVars"] for link in boards)
    for link in links(board):
        if link not in boards:
            assert link["url"].startswith(DOCS_URL)
            assert (DOCS / link["url"].removeprefix(DOCS_URL)).exists(), link["url"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board_begins_with_how_well_gatepost_was_scraped_and_what_fired(board: Board) -> None:
    second_row = [panel["type"] for panel in board["panels"]].index("row", 1)
    first = [panel["title"] for panel in board["panels"][1:second_row]]
    assert set(ON_EVERY_BOARD) <= set(first)


# --- all of them together ---


def test_every_runbook_is_linked_from_a_panel_that_shows_its_alert() -> None:
    linked = {link["url"] for link in chain.from_iterable(map(links, BOARDS.values()))}
    found = {match[1] for url in linked if (match := RUNBOOK_URL.fullmatch(url))}
    assert found == {file.stem for file in RUNBOOKS.glob("*.md")}


@pytest.mark.parametrize("title", ON_EVERY_BOARD)
def test_a_panel_of_every_board_is_the_same_on_each(title: str) -> None:
    same = [panel | {"id": 0} for board in BOARDS.values() for panel in board["panels"] if panel["title"] == title]
    assert same == [same[0]] * len(BOARDS)


def test_a_row_of_the_alerts_leads_to_its_runbook() -> None:
    (panel,) = (panel for panel in BOARDS["authentication"]["panels"] if panel["title"] == "Alerts that fired")
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    url = f"{DOCS_URL}runbooks/${{__data.fields.alertname}}.md"
    assert link == {"targetBlank": True, "title": "Runbook", "url": url}  # Grafana's schema says nothing of these
    assert all("alertname" in grouped_in(expression) for expression in expressions(panel))


def test_every_metric_is_on_a_board() -> None:
    panels = chain.from_iterable(board["panels"] for board in BOARDS.values())
    shown = {name for panel in panels for expression in expressions(panel) for name in named_in(expression)}
    missing = {metric.name for metric in TABLE if not shown & {metric.shown_name, f"{metric.name}_bucket"}}
    assert missing == set()


def test_a_name_has_the_same_colour_on_every_board() -> None:
    painted = {
        pair
        for board in BOARDS.values()
        for panel in board["panels"]
        if "fieldConfig" in panel
        for pair in colours(panel)
    }
    assert {"accepted", "rejected", "clear_refused"} <= {name for name, _ in painted}
    assert len(painted) == len({name for name, _ in painted})


def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    program = require("promtool", package="prometheus")
    chosen = {"$__rate_interval": "1m", "$__range": "1d", "$instance": "one|other", "$listener": ".*"}
    rules = tmp_path / "rules.yaml"
    lines = ["groups:", "- name: boards", "  rules:"]
    for number, panel in enumerate(param.values[0] for param in DRAWN):
        assert isinstance(panel, dict)
        for target in panel["targets"]:
            expr = re.sub(r"\$\w+", lambda found: chosen[found[0]], target["expr"])
            lines += [f"  - record: panel:{number}:{target['refId']}", f"    expr: {json.dumps(expr)}"]
    rules.write_text("\n".join(lines))
    done = subprocess.run([program, "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- each panel ---


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_says_what_it_shows_in_a_sentence(panel: Panel) -> None:
    assert panel["title"]
    assert re.fullmatch(r"[A-Z][^.]+\.", panel["description"])


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_that_speaks_of_the_log_leads_to_its_page(panel: Panel) -> None:
    led_to = {link["url"] for link in panel.get("links", [])}
    assert ("the log" in panel["description"]) is (f"{DOCS_URL}logs.md" in led_to)


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_has_a_unit_and_words_for_when_there_is_nothing(panel: Panel) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["noValue"]


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_that_drops_zeros_does_not_take_what_was_not_scraped_for_nothing(panel: Panel) -> None:
    drops = all(re.search(r"> 0|>= \d", expression) for expression in expressions(panel))
    may_be_missing = "ertificate" in panel["title"]  # without TLS there is none
    assert (panel["fieldConfig"]["defaults"]["noValue"] == NOTHING) is (drops or may_be_missing)


@pytest.mark.parametrize("panel", DRAWN)
def test_a_quantile_of_nothing_is_dropped(panel: Panel) -> None:
    """It is NaN, which the legend's Max takes for no data at all."""
    for expression in expressions(panel):
        if "histogram_quantile" in expression:
            assert re.fullmatch(r"histogram_quantile\(.+\) >= 0", expression)
            assert expression.count("histogram_quantile") == 1


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_asks_the_chosen_datasource(panel: Panel) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    assert panel["datasource"] == chosen
    assert all(target["datasource"] == chosen for target in panel["targets"])


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_asks_for_metrics_labels_and_values_that_there_are(panel: Panel) -> None:
    for target in panel["targets"]:
        named = named_in(target["expr"])
        assert named
        assert complaints(target["expr"], SHOWN) == []
        known = {"instance"}.union(*(SHOWN[name] for name in named))
        assert set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))) <= known


@pytest.mark.parametrize("panel", DRAWN)
def test_a_panel_shows_the_chosen_instances_alone(panel: Panel) -> None:
    for expression in expressions(panel):
        picked = MATCHERS.findall(expression)
        assert picked
        chosen = "$instance|" if "ALERTS" in expression else "$instance"  # absent() raises one without an instance
        assert all(matchers.startswith(f'instance=~"{chosen}"') for matchers in picked)
        assert set(BARE.findall(expression)) <= {"gatepost_build_info"}  # to tell gatepost from other processes


@pytest.mark.parametrize("panel", DRAWN)
def test_rates_and_counts_follow_the_range_shown(panel: Panel) -> None:
    for target in panel["targets"]:
        windows = WINDOW.findall(target["expr"])
        assert len(windows) == target["expr"].count("[")
        for function, window in windows:
            if "of the last hour" in panel["description"]:  # so that a rate of few is no matter of one
                assert (function, window) == ("increase", "1h")
            else:
                assert window == ("$__rate_interval" if function == "rate" else "$__range"), function
        assert target["instant"] is not target["range"]
        assert target["range"] is (panel["type"] == "timeseries")


@pytest.mark.parametrize("panel", DRAWN)
def test_red_is_for_what_needs_a_person_and_a_runbook_says_what_to_do(panel: Panel) -> None:
    assert panel["fieldConfig"]["defaults"]["color"]["mode"] in {"fixed", "shades", "thresholds"}  # palettes have red
    assert ('"red"' in json.dumps(panel)) is (panel["title"] in NEED_A_PERSON)
    assert panel["title"] not in NEED_A_PERSON or panel["links"]
