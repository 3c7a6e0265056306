"""A dashboard as Grafana reads it: its panels, and their queries with the variables filled in.

https://grafana.com/docs/grafana/latest/dashboards/variables/ and Grafana's Prometheus datasource say how. Of $instance
and $listener All is chosen. Here are those variables alone that gatepost's boards use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prometheus import SCRAPE_SECONDS, Prometheus, Series

MOST_POINTS = 700  # of a series in a panel; Grafana takes the panel's width
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")


class Unknown(Exception):
    """Something of a dashboard that is not read here."""


class Place(NamedTuple):
    """On a grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Query:
    """One target of a panel."""

    expression: str
    legend: str
    ref: str
    instant: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. What only says how it looks stays as the JSON has it."""

    kind: str
    title: str
    description: str
    place: Place
    queries: tuple[Query, ...]
    options: Mapping[str, Any]
    fields: Mapping[str, Any]
    transformations: tuple[Mapping[str, Any], ...]
    hidden: tuple[Panel, ...] = ()  # those of a row that is folded


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `variables` are by their names what All stands for."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: Mapping[str, str]

    def all_panels(self) -> Iterator[Panel]:
        for panel in self.panels:
            yield from (panel, *panel.hidden)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query brought."""

    query: Query
    series: list[Series]

    def name(self, series: Series) -> str:
        """The legend's text; without a format, labels as Prometheus writes them."""
        if self.query.legend and self.query.legend != "__auto":
            return re.sub(r"{{\s*(\w+)\s*}}", lambda found: series.labels.get(found[1], ""), self.query.legend)
        labels = ", ".join(f'{key}="{value}"' for key, value in sorted(series.labels.items()) if key != "__name__")
        return f"{series.labels.get('__name__', '')}{{{labels}}}" if labels else self.query.expression


def read(file: Path) -> Board:
    """Raises Unknown."""
    board = json.loads(file.read_text())
    variables = {each["name"]: _all(each) for each in board["templating"]["list"] if each["type"] == "query"}
    panels = tuple(_panel(each) for each in board["panels"])
    return Board(board["uid"], board["title"], board.get("description", ""), panels, variables)


def _all(variable: Mapping[str, Any]) -> str:
    """Grafana puts a custom `allValue` in as it is, and escapes nothing. Without one it would list all values."""
    if not variable.get("allValue"):
        raise Unknown(f"all values of the variable {variable['name']}")
    return str(variable["allValue"])


def _panel(panel: Mapping[str, Any]) -> Panel:
    return Panel(
        kind=panel["type"],
        title=panel.get("title", ""),
        description=panel.get("description", ""),
        place=Place(**panel["gridPos"]),
        queries=tuple(_query(target) for target in panel.get("targets", ()) if not target.get("hide")),
        options=panel.get("options", {}),
        fields=panel.get("fieldConfig", {}),
        transformations=tuple(panel.get("transformations", ())),
        hidden=tuple(_panel(each) for each in panel.get("panels", ())),
    )


def _query(target: Mapping[str, Any]) -> Query:
    return Query(target["expr"], target.get("legendFormat", ""), target["refId"], bool(target.get("instant")))


class Reader:
    """Asks what a board asks, of one Prometheus, for one span of time."""

    def __init__(self, prometheus: Prometheus, board: Board, span: tuple[float, float]) -> None:
        self._prometheus = prometheus
        self._span = span
        seconds = span[1] - span[0]
        self._step = max(float(SCRAPE_SECONDS), round(seconds / MOST_POINTS))
        self.values = {
            "__interval": f"{self._step:.0f}s",
            "__rate_interval": f"{max(self._step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS):.0f}s",
            "__range": f"{seconds:.0f}s",
            "__range_s": f"{seconds:.0f}",
            **board.variables,
        }

    def answers(self, panel: Panel) -> list[Answer]:
        return [Answer(query, self._answer(query)) for query in panel.queries]

    def fill_in(self, text: str) -> str:
        """Replace the variables. Raises Unknown."""

        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name not in self.values:
                raise Unknown(f"the variable {name}")
            return self.values[name]

        return _VARIABLE.sub(value, text)

    def _answer(self, query: Query) -> list[Series]:
        expression = self.fill_in(query.expression)
        if query.instant:
            return self._prometheus.query(expression, self._span[1])
        return self._prometheus.query_range(expression, self._span, self._step)
