"""A night of traffic, and what Prometheus, the rules and the dashboards make of it in the morning."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from boards import ALERTS, boards, draw_board
from dashboard import Board, Panel, Reader
from drawing import WIDTH
from night import QUARTERS, Night, night
from peers import require
from prometheus import SCRAPE_SECONDS

BOARDS = boards()
PANELS = [(board, panel) for board in BOARDS for panel in board.all_panels() if panel.queries]

# Alerts that such a night must raise, be it that they still wait for their `for`; that no such night may raise; and
# that a slow machine raises.
SEEN = {
    "GatepostClearTextLogins",
    "GatepostCredentialsExposed",
    "GatepostPasswordGuessing",
    "GatepostUpstreamDown",
    "GatepostHandshakeFailuresJump",
    "GatepostOldTls",
}
QUIET = {
    "GatepostCertificateExpiring",
    "GatepostCertificateReloadFailed",
    "GatepostUsersReloadFailed",
    "GatepostSettingsReloadFailed",
    "GatepostLimitNear",
    "GatepostConnectionsRefused",
    "GatepostBackendFailing",
    "GatepostCrashed",
    "GatepostDown",
    "GatepostUpstreamSlow",
    "GatepostLoginsFailForEveryone",
}
SLOW = {"GatepostEventLoopLag", "GatepostUpstreamFailing"}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    program = require("prometheus", package="prometheus")
    with night(program, tmp_path_factory.mktemp("night"), ALERTS) as over:
        yield over


def test_scrapes_are_good(played: Night) -> None:
    """All but those that a busy machine makes late; how long they take is for the benchmark."""
    assert played.prometheus.number("count_over_time(up[1h])") >= QUARTERS
    assert played.prometheus.number("avg_over_time(up[1h])") > 0.9


def test_prometheus_and_gatepost_have_nothing_to_complain_of(played: Night) -> None:
    assert played.prometheus.log.read_text() == ""
    events = [json.loads(line) for line in played.gate.log.read_text().splitlines()]
    assert "conversation" in {event["event"] for event in events}
    assert [event for event in events if event["level"] == "error"] == []


def test_prometheus_has_what_was_done(played: Night) -> None:
    assert played.tally.counts
    for selector, counted in played.tally.counts.items():
        labels = sorted({label for series in counted for label, _ in series})
        answer = played.prometheus.query(f"sum by ({', '.join(labels)}) ({selector}) > 0")
        assert {tuple(sorted(each.labels.items())): each.last for each in answer} == dict(counted), selector


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: getattr(each, "title", None))
def test_every_query_of_a_panel_brings_numbers(played: Night, board: Board, panel: Panel) -> None:
    for answer in Reader(played.prometheus, board, played.span).answers(panel):
        values = [value for series in answer.series for _, value in series.points]
        assert any(math.isfinite(value) for value in values), answer.query.expression


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_board_is_drawn_by_chromium(played: Night, board: Board, tmp_path: Path) -> None:
    picture = draw_board(board, played, require("chromium", package="chromium"), tmp_path)
    png = picture.read_bytes()
    width, height = struct.unpack(">II", png[16:24])  # of the header that comes first (PNG section 11.2.2)
    bottom = max(panel.place.y + panel.place.h for panel in board.panels)
    assert width == WIDTH
    assert height > bottom * 30
    assert 20_000 < len(png) < 400_000


def test_every_rule_is_healthy(played: Night) -> None:
    rules = played.prometheus.rules()
    assert rules
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}


def test_every_recording_rule_brings_data(played: Night) -> None:
    recorded = [rule["name"] for rule in played.prometheus.rules() if rule["type"] == "recording"]
    assert recorded
    assert [name for name in recorded if not played.prometheus.query(f"last_over_time({name}[1h])")] == []


def raised(night: Night) -> set[str]:
    """Alerts that were pending or firing at any time since the first scrape: before it, gatepost is rightly absent."""
    seconds = night.ended - night.began - 2 * SCRAPE_SECONDS
    answer = night.prometheus.query(f"count_over_time(ALERTS[{seconds:.0f}s])", night.ended)
    return {series.labels["alertname"] for series in answer}


def test_the_night_raises_its_alerts(played: Night) -> None:
    assert raised(played) >= SEEN


def test_the_night_raises_no_alert_without_reason(played: Night) -> None:
    known = {rule["name"] for rule in played.prometheus.rules() if rule["type"] == "alerting"}
    assert known == SEEN | QUIET | SLOW
    assert raised(played) & QUIET == set()
