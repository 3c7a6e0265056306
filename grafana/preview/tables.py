"""Tables: the frames that Grafana makes of instant answers, and the transformations that gatepost's boards use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard import Answer, Unknown

Cell = str | float | None
Row = dict[str, Cell]
TIME, VALUE = "Time", "Value"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns in order, and rows by them."""

    columns: list[str]
    rows: list[Row]


def table(answers: list[Answer], transformations: tuple[Mapping[str, Any], ...]) -> Table:
    """Raises Unknown for a transformation that is not done here."""
    tables = [_frame(answer, alone=len(answers) == 1) for answer in answers]
    for each in transformations:
        if each.get("disabled"):
            continue
        change = _TRANSFORMATIONS.get(each["id"])
        if change is None:
            raise Unknown(f"the transformation {each['id']}")
        tables = change(tables, each.get("options", {}))
    if len(tables) != 1:
        raise Unknown("a table of several frames")
    return tables[0]


def _frame(answer: Answer, *, alone: bool) -> Table:
    """Time, labels, and Value, or "Value #A" where there are several queries."""
    value = VALUE if alone else f"{VALUE} #{answer.query.ref}"
    labels = sorted({label for series in answer.series for label in series.labels})
    rows: list[Row] = [
        {TIME: series.points[-1][0] * 1000, **series.labels, value: series.last} for series in answer.series
    ]
    return Table([TIME, *labels, value], rows)


def _merge(tables: list[Table], _: Mapping[str, Any]) -> list[Table]:
    """One table; rows that agree in all columns that they share become one."""
    columns = list(dict.fromkeys(column for each in tables for column in each.columns))
    shared = [column for column in columns if all(column in each.columns for each in tables)]
    merged: dict[tuple[Cell, ...], Row] = {}
    for each in tables:
        for row in each.rows:
            merged.setdefault(tuple(row.get(column) for column in shared), {}).update(row)
    return [Table(columns, list(merged.values()))]


def _matrix(tables: list[Table], options: Mapping[str, Any]) -> list[Table]:
    """groupingToMatrix: a row for each value of one field, a column for each of another."""
    (source,) = tables
    down, across, value = (
        options.get("rowField", TIME),
        options.get("columnField", TIME),
        options.get("valueField", VALUE),
    )
    corner = f"{down}\\{across}"
    columns = list(dict.fromkeys(str(row[across]) for row in source.rows))
    rows: dict[Cell, Row] = {}
    for row in source.rows:
        rows.setdefault(row[down], {corner: row[down]})[str(row[across])] = row[value]
    empty: Cell = 0.0 if options.get("emptyValue") == "zero" else None
    for each in rows.values():
        for column in columns:
            each.setdefault(column, empty)
    return [Table([corner, *columns], list(rows.values()))]


def _organize(tables: list[Table], options: Mapping[str, Any]) -> list[Table]:
    """Leaves columns out, orders and renames them."""
    left_out, order, names = (options.get(key, {}) for key in ("excludeByName", "indexByName", "renameByName"))
    changed = []
    for each in tables:
        kept = [column for column in each.columns if not left_out.get(column)]
        kept.sort(key=lambda column: order.get(column, len(order)))
        renamed = {column: names.get(column) or column for column in kept}
        rows: list[Row] = [{renamed[column]: row.get(column) for column in kept} for row in each.rows]
        changed.append(Table(list(renamed.values()), rows))
    return changed


def _sort(tables: list[Table], options: Mapping[str, Any]) -> list[Table]:
    for rule in reversed(options.get("sort", ())):
        for each in tables:
            each.rows.sort(key=lambda row: _order(row.get(rule["field"])), reverse=bool(rule.get("desc")))
    return tables


def _order(cell: Cell) -> tuple[int, float, str]:
    if cell is None:
        return (0, 0.0, "")
    return (1, cell, "") if isinstance(cell, float) else (2, 0.0, cell)


def _unchanged(tables: list[Table], _: Mapping[str, Any]) -> list[Table]:
    return tables


_TRANSFORMATIONS: dict[str, Callable[[list[Table], Mapping[str, Any]], list[Table]]] = {
    "merge": _merge,
    "groupingToMatrix": _matrix,
    "organize": _organize,
    "sortBy": _sort,
    "labelsToFields": _unchanged,  # instant answers come as tables already
}
