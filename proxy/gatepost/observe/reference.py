"""The reference pages of the metrics and of the log, made from their tables.

`python -m gatepost.observe.reference metrics > docs/metrics.md` brings a page up to date, and `logs` the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from gatepost.observe.events import EVENTS, FIELDS, Event, Field
from gatepost.observe.table import NAMED, OPEN, TABLE, Kind, Metric
from gatepost.settings import BUILT_IN_NETWORKS

_METRICS = """# Metrics

<!-- Made by `python -m gatepost.observe.reference metrics` from the table in `observe/table.py`. Do not edit. -->

`GET /metrics` on the address of `[observe]`, in the text format of Prometheus or as OpenMetrics, as the request asks.
In OpenMetrics, what speaks of one conversation carries its id as an exemplar, `conversation_id`: it is the
`conversation.id` of the [log](logs.md).

Every label is a closed set: no value ever comes from a client. Every series that can ever move exists from the first
scrape on, at 0, so that what never happened is told apart from what is not measured. `listener` takes the names that
the settings give, `network` those of `[[observe.networks]]` and then {networks};
`file` and `name` of certificates are the operator's too, or the upstream's name. Beside these there are
`gatepost_build_info` (version, python, openssl), and the process, platform and garbage-collector metrics of the
Prometheus client.

There are {shared:,} series for all, {listener:,} more for each listener, {network:,} for each network, {both:,} for
each listener and network together, and one for each name of a certificate. With two listeners: {two:,}.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""
_LOGS = """# Logs

<!-- Made by `python -m gatepost.observe.reference logs` from the tables in `observe/events.py`. Do not edit. -->

One event a line on standard error: JSON, or readable text on a terminal (`[log] format`). Each has `event`, `level` and
`timestamp` (UTC). Names follow OpenTelemetry's semantic conventions where they have one; with `names = "ecs"` they are
those of the Elastic Common Schema, and `event`, `level` and `timestamp` are `message` (and `event.action`), `log.level`
and `@timestamp`. An event's `conversation.id` is the same in all events of a conversation.

No event holds a password, a token or a message. Login names are written as `[log] logins` says, those of attempts that
were refused on a clear channel as `clear_logins` says: hashed, unless it is set otherwise. A hash is HMAC-SHA256 of the
name, case-folded, its first 16 hexadecimal digits. The key is `hash_key_file`; without one it is made at each start,
so hashes of different days cannot be compared. To tell whose a hash is, compute it for the users that you have:

```sh
python3 -c 'import hmac, sys
key = open(sys.argv[1], "rb").read().removesuffix(b"\\n").removesuffix(b"\\r")
print(hmac.digest(key, sys.argv[2].casefold().encode(), "sha256").hex()[:16])' KEYFILE bob@example.com
```

At `level = "warning"` a quiet night writes nothing. A client that says nothing, as checks of an open port do, is an
event of level debug. Connections that are turned away at the door are counted and not logged, since there may be very
many. While nobody reads the log, 4 MiB of events wait; what comes then is lost, and counted by
`gatepost_log_events_lost_total`. Of a certificate's names the first twenty are written.

## Events

| Event | Level | When | Fields |
|---|---|---|---|
"""
_FIELDS = """
## Fields

A field is absent when there is nothing to say. *ECS*: its name with `names = "ecs"`, where it has another.

| Field | Meaning | ECS |
|---|---|---|
"""
_ONE = {"listener": ("*",), "network": ("*",)}


def render_metrics() -> str:
    """Return the whole page, in Markdown."""
    rows = "".join(
        f"| `{metric.shown_name}` | {metric.kind.value} | {_quoted(metric.labels)} | {metric.help} |\n"
        for metric in TABLE
    )
    both = _count("listener", "network")
    listener, network, shared = _count("listener"), _count("network"), _count()
    networks = len(BUILT_IN_NETWORKS)
    introduction = _METRICS.format(
        networks=", ".join(BUILT_IN_NETWORKS),
        shared=shared,
        listener=listener,
        network=network,
        both=both,
        two=shared + 2 * listener + networks * network + 2 * networks * both,
    )
    return f"{introduction}{rows}\n## Values of the labels\n\n{_values()}"


def _count(*named: str) -> int:
    """How many series there are for one of each of these."""
    return sum(
        _width(metric) * len(list(metric.series(_ONE)))
        for metric in TABLE
        if set(named) == set(metric.labels) & _ONE.keys() and OPEN not in metric.labels.values()
    )


def _width(metric: Metric) -> int:
    """Series that Prometheus has of one of ours: of a histogram also the count, which is the last bucket again."""
    return metric.places + (metric.kind is Kind.HISTOGRAM)


def _values() -> str:
    """Each closed set once; sets of the same name that differ are listed with their metrics."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric in TABLE:
        for label, values in metric.labels.items():
            if values not in (NAMED, OPEN):
                found.setdefault((label, values), []).append(metric.shown_name)
    several = [label for label, _ in found]
    lines = []
    for (label, values), metrics in found.items():
        where = f" of `{'`, `'.join(metrics)}`" if several.count(label) > 1 else ""
        lines.append(f"- `{label}`{where}: {', '.join(values)}\n")
    return "".join(lines)


def render_logs() -> str:
    """Return the whole page, in Markdown."""
    events, fields = "".join(map(_event, EVENTS.values())), "".join(map(_field, FIELDS.values()))
    return f"{_LOGS}{events}{_FIELDS}{fields}"


def _event(event: Event) -> str:
    return f"| `{event.name}` | {event.level} | {event.when} | {_quoted(event.fields)} |\n"


def _field(field: Field) -> str:
    ecs = tuple(name for name in field.ecs if name != field.name)
    return f"| `{field.name}` | {field.meaning} | {_quoted(ecs)} |\n"


def _quoted(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


PAGES: dict[str, Callable[[], str]] = {"metrics": render_metrics, "logs": render_logs}

if __name__ == "__main__":
    sys.stdout.write(PAGES[sys.argv[1]]())
