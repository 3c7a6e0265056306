"""How values look: units, colours, mappings and thresholds of a field, by the dashboard's `fieldConfig`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Grafana's names for colours, in its dark theme, and the order in which it gives them to series without one.
COLOURS = {
    "green": "#73BF69",
    "dark-green": "#37872D",
    "semi-dark-green": "#56A64B",
    "light-green": "#96D98D",
    "super-light-green": "#C8F2C2",
    "yellow": "#FADE2A",
    "dark-yellow": "#E0B400",
    "semi-dark-yellow": "#F2CC0C",
    "light-yellow": "#FFEE52",
    "super-light-yellow": "#FFF899",
    "orange": "#FF9830",
    "dark-orange": "#FA6400",
    "semi-dark-orange": "#FF780A",
    "light-orange": "#FFB357",
    "super-light-orange": "#FFCB7D",
    "red": "#F2495C",
    "dark-red": "#C4162A",
    "semi-dark-red": "#E02F44",
    "light-red": "#FF7383",
    "super-light-red": "#FFA6B0",
    "blue": "#5794F2",
    "dark-blue": "#1F60C4",
    "semi-dark-blue": "#3274D9",
    "light-blue": "#8AB8FF",
    "super-light-blue": "#C0D8FF",
    "purple": "#B877D9",
    "dark-purple": "#8F3BB8",
    "semi-dark-purple": "#A352CC",
    "light-purple": "#CA95E5",
    "super-light-purple": "#DEB6F2",
    "text": "#CCCCDC",
    "gray": "#8E8E99",
    "transparent": "transparent",
}
PALETTE = (
    *("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A"),
    *("#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477", "#B7DBAB", "#F4D598", "#70DBED", "#F9BA8F"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Of one field."""

    settings: Mapping[str, Any]
    custom: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        found: str | None = self.settings.get("displayName")
        return found

    @property
    def no_value(self) -> str:
        return str(self.settings.get("noValue", "No data"))

    def text(self, value: float) -> str:
        mapping = self._mapping(value)
        if mapping is not None and "text" in mapping:
            return str(mapping["text"])
        if math.isnan(value):
            return self.no_value
        return written(value, self.settings.get("unit", "none"), self.settings.get("decimals"))

    def colour(self, value: float, order: int = 0) -> str:
        """By mapping, fixed colour or thresholds; else the palette's."""
        mapping = self._mapping(value)
        if mapping is not None and "color" in mapping:
            return colour(mapping["color"])
        chosen = self.settings.get("color", {})
        mode = chosen.get("mode", "palette-classic" if "thresholds" not in self.settings else "thresholds")
        if mode in ("fixed", "shades"):
            return shade(colour(chosen["fixedColor"]), order if mode == "shades" else 0)
        return self.threshold(value) if mode == "thresholds" else PALETTE[order % len(PALETTE)]

    def line(self, order: int) -> str:
        """Of a curve, whose values have no part in it."""
        mode = self.settings.get("color", {}).get("mode")
        return self.colour(math.nan, order) if mode in ("fixed", "shades") else PALETTE[order % len(PALETTE)]

    def threshold(self, value: float) -> str:
        steps = self.settings.get("thresholds", {}).get("steps") or [{"color": "green", "value": None}]
        passed = [step for step in steps if step["value"] is None or value >= step["value"]]
        return colour((passed or steps)[-1 if passed else 0]["color"])

    def _mapping(self, value: float) -> Mapping[str, Any] | None:
        for mapping in self.settings.get("mappings", ()):
            found = _MAPPINGS[mapping["type"]](mapping["options"], value)
            if found is not None:
                result: Mapping[str, Any] = found
                return result
        return None


def _by_value(options: Mapping[str, Any], value: float) -> Mapping[str, Any] | None:
    return None if math.isnan(value) else options.get(f"{value:.15g}")


def _by_range(options: Mapping[str, Any], value: float) -> Mapping[str, Any] | None:
    low, high = options.get("from"), options.get("to")
    within = (low is None or value >= low) and (high is None or value <= high)
    return options["result"] if within and not math.isnan(value) else None


def _by_kind(options: Mapping[str, Any], value: float) -> Mapping[str, Any] | None:
    return options["result"] if math.isnan(value) and options.get("match") in ("null", "nan", "null+nan") else None


_Mapped = Callable[[Mapping[str, Any], float], Mapping[str, Any] | None]
_MAPPINGS: dict[str, _Mapped] = {
    "value": _by_value,
    "range": _by_range,
    "special": _by_kind,
    "regex": lambda _options, _value: None,
}


def look(fields: Mapping[str, Any], name: str, ref: str = "") -> Look:
    """Defaults, and what overrides them for this field."""
    settings = dict(fields.get("defaults", {}))
    custom = dict(settings.get("custom", {}))
    for override in fields.get("overrides", ()):
        if _matches(override["matcher"], name, ref):
            for each in override["properties"]:
                kind, _, key = each["id"].rpartition("custom.")
                (custom if kind != each["id"] and each["id"].startswith("custom.") else settings)[key] = each.get(
                    "value"
                )
    return Look(settings, custom)


def _matches(matcher: Mapping[str, Any], name: str, ref: str) -> bool:
    kind, wanted = matcher["id"], matcher.get("options")
    if kind == "byName":
        return bool(wanted == name)
    if kind == "byRegexp":
        return re.search(str(wanted).strip("/"), name) is not None
    return kind == "byFrameRefID" and wanted == ref


def colour(name: str) -> str:
    return COLOURS.get(name, name)


def shade(colour: str, order: int) -> str:
    """The colour itself first, then lighter and darker ones in turn."""
    towards = 255 if order % 2 else 0
    share = min(0.6, (order + 1) // 2 * 0.2)
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (towards - part) * share):02X}" for part in parts)


# --- units -----------------------------------------------------------------------------------------------------------

_SHORT = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1.0, ""))
_BYTES = ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (1.0, " B"))
_DECIMAL_BYTES = ((1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1.0, " B"))
_SECONDS = (
    *((31_557_600.0, " years"), (604_800.0, " weeks"), (86_400.0, " days"), (3600.0, " hours"), (60.0, " mins")),
    *((1.0, " s"), (1e-3, " ms"), (1e-6, " µs")),
)
_RATES = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s", "cpm": " c/m"}
_SCALES: dict[str, Sequence[tuple[float, str]]] = {
    "short": _SHORT,
    "s": _SECONDS,
    "bytes": _BYTES,
    "decbytes": _DECIMAL_BYTES,
    "Bps": [(size, name + "/s") for size, name in _DECIMAL_BYTES],
    "binBps": [(size, name + "/s") for size, name in _BYTES],
    **{unit: [(size, name.rstrip() + text) for size, name in _SHORT] for unit, text in _RATES.items()},
}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in a unit; an unknown unit is written behind it."""
    if unit in ("dateTimeAsIso", "dateTimeFromNow", "dateTimeAsLocal"):  # of milliseconds
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if unit in ("percent", "percentunit"):
        return _digits(value * (100 if unit == "percentunit" else 1), decimals) + "%"
    scale = _SCALES.get(unit)
    if scale is None:
        return _digits(value, decimals) + ("" if unit in ("none", "") else f" {unit}")
    fitting = [(size, name) for size, name in scale if abs(value) >= size]
    size, name = fitting[0] if fitting else (1.0, dict(scale).get(1.0, ""))
    return _digits(value / size, decimals) + name


def _digits(value: float, decimals: int | None) -> str:
    if math.isinf(value):
        return "∞"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text
