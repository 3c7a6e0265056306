"""Lines over time as SVG, with axes, thresholds, stacks and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

from looks import Look

LEFT, RIGHT, TOP, BOTTOM = 68, 10, 8, 20  # margins around what is drawn, in pixels
TICKS, TIME_WIDTH = 4, 90.0  # lines of the grid, and room for a time
BINARY = ("bytes", "binBps")
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One series with its name and its looks."""

    name: str
    points: Points
    look: Look
    colour: str

    @property
    def is_stacked(self) -> bool:
        return bool(self.look.custom.get("stacking", {}).get("mode") == "normal")

    @property
    def opacity(self) -> float:
        return float(self.look.custom.get("fillOpacity", 0)) / 100


@dataclass(frozen=True, slots=True)
class Area:
    """Where the curves are drawn, and what its edges stand for."""

    width: float
    height: float
    span: tuple[float, float]
    low: float
    high: float

    def x(self, when: float) -> float:
        began, ended = self.span
        return LEFT + (self.width - LEFT - RIGHT) * (when - began) / (ended - began)

    def y(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (1 - (value - self.low) / (self.high - self.low))


def chart(curves: Sequence[Curve], size: tuple[float, float], span: tuple[float, float]) -> str:
    """The SVG, without the legend."""
    stacks = _stacked(curves)
    step, area = _scale(stacks, size, span, curves[0].look)
    parts = [*_grid(area, step, curves[0].look), *_thresholds(area, curves[0].look)]
    for curve, (floor, points) in reversed(list(zip(curves, stacks, strict=True))):
        parts += _drawn(area, curve, floor, points)
    return f'<svg width="{size[0]:.0f}" height="{size[1]:.0f}">{"".join(parts)}</svg>'


def spark(curve: Curve, size: tuple[float, float]) -> str:
    """A line without anything else, as behind a number."""
    known = [point for point in curve.points if math.isfinite(point[1])]
    if len(known) < 2:  # noqa: PLR2004  a line has two ends
        return ""
    values = [value for _, value in known]
    low, high = min(values), max(*values, min(values) + 1e-9)
    width, height = size
    began, ended = known[0][0], known[-1][0]
    path = " ".join(
        f"{width * (when - began) / (ended - began):.1f},{(height - 3) * (1 - (value - low) / (high - low)) + 1:.1f}"
        for when, value in known
    )
    line = f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-opacity=".7"/>'
    return f'<svg class="spark" width="{width:.0f}" height="{height:.0f}">{line}</svg>'


def _stacked(curves: Sequence[Curve]) -> list[tuple[Points, Points]]:
    """For each curve the line under it and its own; those that stack stand on the one before."""
    below: dict[float, float] = {}
    placed: list[tuple[Points, Points]] = []
    for curve in curves:
        if not curve.is_stacked:
            placed.append(([(when, 0.0) for when, _ in curve.points], curve.points))
            continue
        floor = [(when, below.get(when, 0.0)) for when, _ in curve.points]
        top = [(when, value + below.get(when, 0.0)) for when, value in curve.points]
        below.update((when, value) for when, value in top if math.isfinite(value))
        placed.append((floor, top))
    return placed


def _scale(
    stacks: Sequence[tuple[Points, Points]], size: tuple[float, float], span: tuple[float, float], look: Look
) -> tuple[float, Area]:
    """The step between two lines of the grid, and the area up to a line above all values."""
    values = [value for _, points in stacks for _, value in points if math.isfinite(value)] or [0.0]
    low, high = min(0.0, *values), float(look.settings.get("max", max(values)))
    if high <= low:
        high = low + 1.0
    rough = (high - low) / TICKS
    if look.settings.get("unit") in BINARY:
        step = 2.0 ** math.ceil(math.log2(rough))
    else:
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(nice * magnitude for nice in NICE if nice * magnitude >= rough * 0.999)
    room = 1.0 if "max" in look.settings else 1.02
    return step, Area(*size, span, math.floor(low / step) * step, math.ceil(high / step * room) * step)


def _grid(area: Area, step: float, look: Look) -> list[str]:
    parts = []
    for number in range(round((area.high - area.low) / step) + 1):
        value = area.low + number * step
        y = area.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{area.width - RIGHT:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = escape(look.text(value))
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    began, ended = area.span
    times = max(2, int((area.width - LEFT - RIGHT) / TIME_WIDTH))
    for number in range(1, times):
        when = began + (ended - began) * number / times
        text = datetime.fromtimestamp(when, UTC).strftime("%H:%M:%S")
        parts.append(f'<text x="{area.x(when):.1f}" y="{area.height - 5:.0f}" text-anchor="middle">{text}</text>')
    return parts


def _thresholds(area: Area, look: Look) -> list[str]:
    if look.custom.get("thresholdsStyle", {}).get("mode", "off") == "off":
        return []
    steps = [
        step["value"] for step in look.settings.get("thresholds", {}).get("steps", ()) if step["value"] is not None
    ]
    return [
        f'<line x1="{LEFT}" x2="{area.width - RIGHT:.0f}" y1="{area.y(value):.1f}" y2="{area.y(value):.1f}" '
        f'stroke="{look.threshold(value)}" stroke-dasharray="6 4"/>'
        for value in steps
        if area.low <= value <= area.high
    ]


def _drawn(area: Area, curve: Curve, floor: Points, points: Points) -> list[str]:
    if curve.look.custom.get("drawStyle") == "bars":
        return _bars(area, curve, floor, points)
    parts = []
    for run in _runs(points):
        top = " ".join(f"{area.x(points[i][0]):.1f},{area.y(points[i][1]):.1f}" for i in run)
        if curve.opacity:
            bottom = " ".join(f"{area.x(floor[i][0]):.1f},{area.y(floor[i][1]):.1f}" for i in reversed(run))
            parts.append(f'<polygon points="{top} {bottom}" fill="{curve.colour}" fill-opacity="{curve.opacity}"/>')
        dash = ' stroke-linecap="round"' if len(run) == 1 else ""
        path = f"{top} {top}" if len(run) == 1 else top  # a point alone is a dot
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="1.5"{dash}/>')
    return parts


def _bars(area: Area, curve: Curve, floor: Points, points: Points) -> list[str]:
    width = max(1.0, (area.width - LEFT - RIGHT) / max(1, len(points)) * 0.7)
    return [
        f'<rect x="{area.x(when) - width / 2:.1f}" y="{area.y(value):.1f}" width="{width:.1f}" '
        f'height="{area.y(base) - area.y(value):.1f}" fill="{curve.colour}"/>'
        for (when, value), (_, base) in zip(points, floor, strict=True)
        if math.isfinite(value) and value > base
    ]


def _runs(points: Points) -> list[list[int]]:
    """Positions without a gap between them. A time without a value, or NaN, is a gap."""
    runs: list[list[int]] = [[]]
    usual = min((later[0] - sooner[0] for sooner, later in pairwise(points)), default=0.0)
    for i, (when, value) in enumerate(points):
        if not math.isfinite(value):
            runs.append([])
            continue
        if runs[-1] and when - points[runs[-1][-1]][0] > usual * 1.5:
            runs.append([])
        runs[-1].append(i)
    return [run for run in runs if run]
