"""The preview reads dashboards as Grafana does, as far as gatepost's go, and says what it does not know."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from charts import Curve, chart
from dashboard import Answer, Board, Panel, Place, Query, Reader, Unknown, read
from drawing import page
from looks import Look, look, written
from prometheus import Prometheus, Refused, Series
from tables import Row, Table, table

SPAN = (1000.0, 1060.0)


def answering(data: object, **more: object) -> Prometheus:
    """A Prometheus that has one answer to all questions."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "success", "data": data, **more})

    return Prometheus(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://prometheus"), Path())


def panel(kind: str) -> Panel:
    query = Query("up", "", "A", instant=True)
    return Panel(kind, "A title", "", Place(0, 0, 12, 8), (query,), {}, {"defaults": {"noValue": "nobody <came>"}}, ())


def board(*panels: Panel, **variables: str) -> Board:
    return Board("gatepost-test", "A board", "", panels, variables)


def rewrites(*cells: tuple[str, str, float]) -> Answer:
    series = [Series({"client": client, "upstream": upstream}, ((1.0, value),)) for client, upstream, value in cells]
    return Answer(Query("rewrites", "", "A", instant=True), series)


def test_variables_become_what_grafana_makes_of_all_values(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    variable = {"name": "instance", "type": "query", "allValue": ".*"}
    file.write_text(json.dumps({"uid": "b", "title": "B", "panels": [], "templating": {"list": [variable]}}))
    filled = Reader(answering([]), read(file), SPAN).fill_in(
        'rate(a{b=~"$instance|"}[$__rate_interval]) + ${__range_s}'
    )
    assert filled == 'rate(a{b=~".*|"}[4s]) + 60'


def test_a_variable_that_does_not_say_what_all_is_is_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    file.write_text(json.dumps({"panels": [], "templating": {"list": [{"name": "instance", "type": "query"}]}}))
    with pytest.raises(Unknown, match="all values of the variable instance"):
        read(file)


def test_an_unknown_variable_is_not_passed_over() -> None:
    with pytest.raises(Unknown, match="the variable pod"):
        Reader(answering([]), board(), SPAN).fill_in("$pod")


def test_a_warning_is_no_answer() -> None:
    with pytest.raises(Refused, match="imprecise"):
        answering({"resultType": "vector", "result": []}, warnings=["imprecise"]).query("up")


def test_a_matrix_has_a_row_for_each_client_and_a_column_for_each_upstream() -> None:
    options = {"rowField": "client", "columnField": "upstream", "valueField": "Value", "emptyValue": "zero"}
    answer = rewrites(("PLAIN", "PLAIN", 3.0), ("LOGIN", "CRAM-MD5", 1.0), ("PLAIN", "CRAM-MD5", 2.0))
    made = table([answer], ({"id": "groupingToMatrix", "options": options},))
    corner = "client\\upstream"
    plain: Row = {corner: "PLAIN", "PLAIN": 3.0, "CRAM-MD5": 2.0}
    login: Row = {corner: "LOGIN", "PLAIN": 0.0, "CRAM-MD5": 1.0}
    assert made == Table([corner, "PLAIN", "CRAM-MD5"], [plain, login])


def test_columns_are_left_out_ordered_and_renamed() -> None:
    options = {"excludeByName": {"Time": True}, "indexByName": {"Value": 0}, "renameByName": {"Value": "Logins"}}
    made = table([rewrites(("PLAIN", "LOGIN", 3.0))], ({"id": "organize", "options": options},))
    assert made.columns == ["Logins", "client", "upstream"]


def test_an_unknown_transformation_is_said() -> None:
    with pytest.raises(Unknown, match="the transformation heatmap"):
        table([rewrites()], ({"id": "heatmap"},))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0042, "s", "4.2 ms"),
        (1_296_000.0, "s", "2.14 weeks"),
        (0.125, "percentunit", "12.5%"),
        (3 * 2.0**20, "bytes", "3 MiB"),
        (20_000.0, "short", "20 K"),
        (12.0, "cpm", "12 c/m"),
        (7.0, "none", "7"),
        (1_795_536_000_000.0, "dateTimeAsIso", "2026-11-24 16:00:00"),
        (7.0, "parsec", "7 parsec"),
    ],
)
def test_values_are_written_in_their_units(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


def test_a_value_has_the_text_and_the_colour_of_its_mapping_and_else_of_its_threshold() -> None:
    steps = [{"color": "green", "value": None}, {"color": "red", "value": 5}]
    mapping = {"type": "value", "options": {"0": {"text": "down", "color": "#123456"}}}
    defaults = {"unit": "none", "mappings": [mapping], "thresholds": {"steps": steps}}
    fields = {"defaults": defaults, "overrides": []}
    looks = look(fields, "any")
    assert (looks.text(0.0), looks.colour(0.0)) == ("down", "#123456")
    assert (looks.text(9.0), looks.colour(9.0), looks.colour(1.0)) == ("9", "#F2495C", "#73BF69")


def test_an_override_is_for_the_fields_that_it_names() -> None:
    override = {"matcher": {"id": "byRegexp", "options": "/^p9/"}, "properties": [{"id": "unit", "value": "s"}]}
    fields = {"defaults": {"unit": "none"}, "overrides": [override]}
    assert [look(fields, name).text(1.0) for name in ("p95", "p50")] == ["1 s", "1"]


def test_a_time_without_a_number_is_a_gap_in_the_line() -> None:
    points = [(1000.0, 1.0), (1001.0, 2.0), (1002.0, math.nan), (1003.0, 1.0), (1004.0, 1.0)]
    drawn = chart([Curve("a", points, Look({}, {}), "#ffffff")], (400.0, 200.0), SPAN)
    assert len(re.findall("<polyline", drawn)) == 2


def test_a_legend_has_the_calculations_of_its_values() -> None:
    line = panel("timeseries")
    legend = {"legend": {"calcs": ["min", "max"]}}
    series = {"metric": {"job": "a"}, "values": [[1000.0, "7"], [1001.0, "NaN"], [1002.0, "3"]]}
    reader = Reader(answering({"resultType": "matrix", "result": [series]}), board(), SPAN)
    shown = replace(line, queries=(Query("up", "{{job}}", "A", instant=False),), options=legend)
    assert "</i>a Min: 3 Max: 7</span>" in page(board(shown), reader, SPAN, "A night")


def test_a_panel_that_cannot_be_drawn_says_so() -> None:
    drawn = page(board(panel("geomap")), Reader(answering([]), board(), SPAN), SPAN, "A night")
    assert "The preview does not know panels of the kind geomap." in drawn


@pytest.mark.parametrize("kind", ["timeseries", "stat", "table", "bargauge"])
def test_a_panel_without_data_says_what_the_dashboard_says(kind: str) -> None:
    reader = Reader(answering({"resultType": "vector", "result": []}), board(), SPAN)
    drawn = page(board(panel(kind)), reader, SPAN, "A night")
    assert "nobody &lt;came&gt;" in drawn
    assert "Grafana did not draw it." in drawn
