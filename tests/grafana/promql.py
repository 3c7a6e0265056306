"""What a PromQL expression names: metrics, the labels it picks them by, and whether gatepost has them.

A regular expression that knows strings, Grafana's variables and grouping. It is no parser: `promtool check rules` says
whether an expression is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gatepost.observe.table import NAMED, OPEN, TABLE, Kind
from gatepost.settings import BUILT_IN_NETWORKS

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_STRING = r'"(?:[^"\\]|\\.)*+"'
_NAMED = re.compile(
    rf"{_STRING}|\$\{{[^}}]*\}}|\$\w+"  # passed over: strings, and Grafana's variables
    rf"|(?<![\w:.])(?P<name>[A-Za-z_:][\w:]*+)(?!\s*\()\s*(?:\{{(?P<matchers>(?:{_STRING}|[^}}\"])*)\}})?"
)
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan", "atan2", "group_left", "group_right"}

ANY = frozenset[str]()  # a label that others name: the operator, or Prometheus
Domains = Mapping[str, frozenset[str]]  # all values that labels can have
_OF_TARGETS: Domains = {"job": ANY, "instance": ANY}
_OF_OTHERS: Mapping[str, Domains] = {
    name: {}
    for name in (
        "up",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    )
}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    label: str
    operator: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """What it speaks of, if its regular expression is a list of values."""
        if self.operator in {"=", "!="}:
            return (self.value,)
        return tuple(each.replace("\\.", ".") for each in self.value.split("|"))


def named_in(expression: str) -> dict[str, list[Matcher]]:
    """Every metric of an expression, with all conditions on its labels."""
    named: dict[str, list[Matcher]] = {}
    for found in _NAMED.finditer(_GROUPING.sub(" ", expression)):
        name = found["name"]
        if name is None or name.lower() in _WORDS:
            continue
        matchers = _MATCHER.findall(found["matchers"] or "")
        named.setdefault(name, []).extend(
            Matcher(label, operator, value[1:-1].replace("\\\\", "\\")) for label, operator, value in matchers
        )
    return named


def grouped_in(expression: str) -> set[str]:
    """Every label that it groups or joins by, or leaves out."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def _known() -> Iterator[tuple[str, Domains]]:
    yield "gatepost_build_info", {"version": ANY, "python": ANY, "openssl": ANY}
    yield from _OF_OTHERS.items()
    for metric in TABLE:
        domains = {
            label: frozenset(BUILT_IN_NETWORKS)
            if label == "network"
            else ANY
            if values in {NAMED, OPEN}
            else frozenset(values)
            for label, values in metric.labels.items()
        }
        yield metric.shown_name, domains
        if metric.kind is Kind.HISTOGRAM:
            yield from ((f"{metric.name}_{part}", domains) for part in ("sum", "count"))
            yield f"{metric.name}_bucket", {**domains, "le": ANY}


KNOWN: Mapping[str, Domains] = dict(_known())


def complaints(expression: str, known: Mapping[str, Domains] = KNOWN) -> list[str]:
    """What it names and gatepost does not have: metrics, labels and values."""
    said: list[str] = []
    labels = set(_OF_TARGETS)
    for name, matchers in named_in(expression).items():
        if name not in known:
            said.append(f"no metric {name}")
            continue
        domains = {**known[name], **_OF_TARGETS}
        labels |= set(domains)
        for matcher in matchers:
            said += _complaints_of(name, matcher, domains)
    return said + [f"no label {label}" for label in sorted(grouped_in(expression) - labels)]


def _complaints_of(name: str, matcher: Matcher, domains: Domains) -> list[str]:
    domain = domains.get(matcher.label)
    if domain is None:
        return [f"no label {matcher.label} of {name}"]
    if domain == ANY:
        return []
    return [f"no {matcher.label} {value} of {name}" for value in matcher.values if value not in domain]


def recorded(rules: Mapping[str, str]) -> dict[str, Domains]:
    """What recording rules make, by their names and expressions: with the labels of what they are made from."""
    known = dict(KNOWN)
    for rule, expression in rules.items():
        domains: dict[str, frozenset[str]] = {}
        for name in named_in(expression):
            for label, values in known.get(name, {}).items():
                domains[label] = domains.get(label, frozenset()) | values
        known[rule] = domains
    return known
