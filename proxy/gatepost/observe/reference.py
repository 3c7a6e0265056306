"""The reference page of the metrics, made from their table.

`python -m gatepost.observe.reference > docs/metrics.md` brings the page up to date.
"""

from __future__ import annotations

import sys

from prometheus_client import Counter, Gauge, Histogram

from gatepost.observe.metrics import TABLE, Metric

_INTRODUCTION = """# Metrics

<!-- Made by `python -m gatepost.observe.reference` from the table in `observe/metrics.py`. Do not edit. -->

`GET /metrics` on the address of `[observe]`, in the text format of Prometheus or as OpenMetrics, as the request asks.

Every label is a closed set: no value ever comes from a client. Every series exists from the first scrape on, at 0, so
that what never happened is told apart from what is not measured. `listener` takes the names that the settings give;
`file` and `name` of certificates are the operator's too. Beside these there are `gatepost_build_info` (version, python,
openssl), and the process, platform and garbage-collector metrics of the Prometheus client.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""
_KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
_LISTENER = "*listener*"


def render() -> str:
    """Return the whole page, in Markdown."""
    rows = "".join(
        f"| `{metric.shown_name}` | {_KINDS[metric.kind]} | {_names(metric)} | {metric.help} |\n" for metric in TABLE
    )
    return f"{_INTRODUCTION}{rows}\n## Values of the labels\n\n{_values()}"


def _names(metric: Metric) -> str:
    return " ".join(f"`{label}`" for label in metric.labels)


def _values() -> str:
    """Each closed set once; `result` and `reason` differ between metrics, and are listed with them."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric in TABLE:
        for label in metric.labels:
            values = tuple(metric.values(label, (_LISTENER,)))
            if values and values != (_LISTENER,):
                found.setdefault((label, values), []).append(metric.shown_name)
    lines = []
    for (label, values), metrics in found.items():
        where = f" of `{'`, `'.join(metrics)}`" if label in {"result", "reason"} else ""
        lines.append(f"- `{label}`{where}: {', '.join(values)}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(render())
