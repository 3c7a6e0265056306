"""A board as one page of HTML and SVG, from what a real Prometheus answered. Grafana looks different.

What cannot be drawn is said in its panel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from charts import Curve, chart, spark
from dashboard import Answer, Board, Panel, Place, Reader, Unknown
from looks import Look, look
from tables import Cell, table

WIDTH, MARGIN, GAP, COLUMNS, ROW = 1600, 16, 8, 24, 30  # pixels, and columns of the grid
COLUMN = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
HEAD, LEGEND_LINE = 30, 18
LABEL = "Drawn by gatepost's preview from a real Prometheus. Grafana did not draw it."
STYLE = f"""
body {{ margin: 0; padding: {MARGIN}px; width: {WIDTH - 2 * MARGIN}px; background: #111217; color: #ccccdc;
       font: 12px/1.4 "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 18px; margin: 0; font-weight: 500; }}
header {{ display: flex; justify-content: space-between; align-items: center; margin-bottom: {GAP}px; }}
header p {{ margin: 0; }}
.label {{ background: #f2cc0c; color: #111217; padding: 4px 10px; border-radius: 2px; }}
main {{ position: relative; }}
section {{ position: absolute; box-sizing: border-box; overflow: hidden; background: #181b1f;
          border: 1px solid #2d3036; }}
section.row {{ background: none; border: none; font-size: 14px; }}
h2 {{ font-size: 13px; font-weight: 500; margin: 0; padding: 6px 10px; height: {HEAD - 12}px; white-space: nowrap; }}
svg {{ shape-rendering: crispEdges; /* halves the picture's size */ }}
svg text {{ fill: #9fa1ab; font-size: 11px; }}
svg .grid {{ stroke: #2a2d33; }}
.legend {{ padding: 0 10px; height: {LEGEND_LINE}px; white-space: nowrap; overflow: hidden; }}
.legend i {{ display: inline-block; width: 14px; height: 3px; margin: 0 5px 3px 0; }}
.legend span {{ margin-right: 14px; }}
.stats {{ display: flex; height: calc(100% - {HEAD}px); align-items: center; justify-content: space-around; }}
.stats div {{ text-align: center; position: relative; }}
.stats strong {{ font-size: 30px; font-weight: 500; display: block; line-height: 1.2; }}
.spark {{ position: absolute; left: 0; bottom: 0; }}
table {{ border-collapse: collapse; margin: 0 10px; width: calc(100% - 20px); }}
th, td {{ text-align: left; padding: 4px 8px; border-bottom: 1px solid #2d3036; font-weight: 400;
         white-space: nowrap; }}
th {{ color: #6e9fff; }}
.number {{ text-align: right; }}
.bar {{ display: flex; align-items: center; margin: 3px 10px; gap: 8px; }}
.bar span {{ width: 46%; text-align: right; white-space: nowrap; overflow: hidden; }}
.bar b {{ display: block; height: 16px; }}
.note {{ padding: 10px; color: #9fa1ab; text-align: center; }}
"""


def page(board: Board, reader: Reader, span: tuple[float, float], caption: str) -> str:
    """The whole page; `caption` says what it shows."""
    sections = [_section(panel, reader, span) for panel in board.panels]
    bottom = max(panel.place.y + panel.place.h for panel in board.panels)
    height = bottom * (ROW + GAP)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(board.title)}</title>'
        f"<style>{STYLE}</style><header><div><h1>{escape(board.title)}</h1><p>{escape(caption)}</p></div>"
        f'<p class="label">{escape(LABEL)}</p></header>'
        f'<main style="height:{height}px">{"".join(sections)}</main></html>\n'
    )


def _size(place: Place) -> tuple[float, float]:
    return place.w * (COLUMN + GAP) - GAP, place.h * (ROW + GAP) - GAP


def _section(panel: Panel, reader: Reader, span: tuple[float, float]) -> str:
    width, height = _size(panel.place)
    left, top = panel.place.x * (COLUMN + GAP), panel.place.y * (ROW + GAP)
    where = f"left:{left:.1f}px;top:{top}px;width:{width:.1f}px;height:{height}px"
    if panel.kind == "row":
        folded = f" ({len(panel.hidden)} panels, folded)" if panel.hidden else ""
        return f'<section class="row" style="{where}"><h2>▾ {escape(panel.title + folded)}</h2></section>'
    try:
        inside = _inside(panel, reader, (width, height - HEAD), span)
    except Unknown as what:
        inside = _note(f"The preview does not know {what}.")
    return f'<section style="{where}"><h2>{escape(panel.title)}</h2>{inside}</section>'


def _inside(panel: Panel, reader: Reader, size: tuple[float, float], span: tuple[float, float]) -> str:
    if panel.kind == "timeseries":
        return _timeseries(panel, reader.answers(panel), size, span)
    if panel.kind == "stat":
        return _stat(panel, reader.answers(panel), size)
    drawer = _DRAWERS.get(panel.kind)
    if drawer is None:
        raise Unknown(f"panels of the kind {panel.kind}")
    return drawer(panel, reader.answers(panel))


def _curves(panel: Panel, answers: list[Answer]) -> list[Curve]:
    """In the order of the answers, which gives them their colours."""
    curves: list[Curve] = []
    for answer in answers:
        for series in answer.series:
            name = answer.name(series)
            looks = look(panel.fields, name, answer.query.ref)
            curves.append(Curve(looks.name or name, series.points, looks, looks.line(len(curves))))
    return curves


def _timeseries(panel: Panel, answers: list[Answer], size: tuple[float, float], span: tuple[float, float]) -> str:
    curves = _curves(panel, answers)
    if not curves:
        return _note(look(panel.fields, "").no_value)
    width, height = size
    legend = panel.options.get("legend", {})
    entries = [_legend_text(curve, legend.get("calcs", ())) for curve in curves]
    lines = _legend_lines(curves, entries, width) if legend.get("showLegend", True) else []
    drawn = chart(curves, (width - 2, height - LEGEND_LINE * len(lines) - 6), span)
    return drawn + "".join(f'<div class="legend">{line}</div>' for line in lines)


def _legend_text(curve: Curve, calculations: Sequence[str]) -> str:
    """The name, and what is calculated of the values: `p95 Max: 3 ms`."""
    words = [
        f"{calculation.capitalize()}: {curve.look.text(_reduced(curve, calculation))}" for calculation in calculations
    ]
    return " ".join([curve.name, *words])


def _legend_lines(curves: list[Curve], entries: list[str], width: float) -> list[str]:
    """Two lines at most, as there is no bar to scroll by; those that are more are counted."""
    lines, used, most = [""], 0.0, 2
    for number, (curve, text) in enumerate(zip(curves, entries, strict=True)):
        entry = f'<span><i style="background:{curve.colour}"></i>{escape(text)}</span>'
        needs = 34 + 7.2 * len(text)
        if used + needs > width - (110 if len(lines) == most else 20):
            if len(lines) == most:
                lines[-1] += f"<span>and {len(curves) - number} more</span>"
                break
            lines.append("")
            used = 0.0
        lines[-1] += entry
        used += needs
    return lines


def _stat(panel: Panel, answers: list[Answer], size: tuple[float, float]) -> str:
    curves = _curves(panel, answers)
    if not curves:
        return f'<div class="stats"><div><strong>{escape(look(panel.fields, "").no_value)}</strong></div></div>'
    named = len(curves) > 1 or panel.options.get("textMode") in ("value_and_name", "name")
    parts = []
    for curve in curves:
        value = _reduced(curve, _calculation(panel))
        text = curve.name if panel.options.get("textMode") == "name" else curve.look.text(value)
        tint = curve.look.colour(value)
        below = f"<div>{escape(curve.name)}</div>" if named and text != curve.name else ""
        shown = Curve(curve.name, curve.points, curve.look, tint)
        drawn = spark(shown, (size[0], size[1] * 0.4)) if len(curves) == 1 and _has_graph(panel) else ""
        parts.append(f'{drawn}<div><strong style="color:{tint}">{escape(text)}</strong>{below}</div>')
    return f'<div class="stats">{"".join(parts)}</div>'


def _has_graph(panel: Panel) -> bool:
    return bool(panel.options.get("graphMode", "area") != "none")


_REDUCERS: dict[str, Callable[[list[float]], float]] = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "max": max,
    "min": min,
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
}


def _calculation(panel: Panel) -> str:
    (name,) = panel.options.get("reduceOptions", {}).get("calcs") or ["lastNotNull"]
    return str(name)


def _reduced(curve: Curve, name: str) -> float:
    values = [value for _, value in curve.points if not math.isnan(value)]
    if name not in _REDUCERS:
        raise Unknown(f"the calculation {name}")
    return _REDUCERS[name](values) if values else math.nan


def _table(panel: Panel, answers: list[Answer]) -> str:
    made = table(answers, panel.transformations)
    if not made.rows:
        return _note(look(panel.fields, "").no_value)
    looks = {column: look(panel.fields, column) for column in made.columns}
    shown = [column for column in made.columns if not looks[column].custom.get("hidden")]
    numbers = {column for row in made.rows for column, cell in row.items() if isinstance(cell, float)}
    kinds = {column: ' class="number"' if column in numbers else "" for column in shown}
    names = {column: escape(looks[column].name or column) for column in shown}
    head = "".join(f'<th scope="col"{kinds[column]}>{names[column]}</th>' for column in shown)
    rows = "".join(
        f"<tr>{''.join(_cell(row.get(column), looks[column]) for column in shown)}</tr>" for row in made.rows
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cell(cell: Cell, looks: Look) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    kind = looks.custom.get("cellOptions", {}).get("type", "auto")
    styles = {"color-background": "background:{};color:#111217", "color-text": "color:{}"}
    style = styles.get(kind, "").format(looks.colour(cell))
    return f'<td class="number" style="{style}">{escape(looks.text(cell))}</td>'


def _bar_gauge(panel: Panel, answers: list[Answer]) -> str:
    curves = _curves(panel, answers)
    if not curves:
        return _note(look(panel.fields, "").no_value)
    values = [_reduced(curve, _calculation(panel)) for curve in curves]
    most = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    bars = []
    for curve, value in zip(curves, values, strict=True):
        full = float(curve.look.settings.get("max", most))
        share = max(0.0, min(1.0, value / full)) * 36 if math.isfinite(value) else 0.0
        tint, text = curve.look.colour(value), escape(curve.look.text(value))
        name = escape(curve.name)
        bars.append(
            f'<div class="bar"><span>{name}</span><b style="width:{share:.1f}%;background:{tint}"></b>{text}</div>'
        )
    return "".join(bars)


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


_DRAWERS: dict[str, Callable[[Panel, list[Answer]], str]] = {
    "table": _table,
    "bargauge": _bar_gauge,
    "gauge": _bar_gauge,
}
