"""What the counters must be, by the log alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from e2e.gateway import Series
from gatepost.facts import Refusal
from gatepost.net.tls import strength
from gatepost.observe.table import code_of

NOT_ACCEPTED = "not accepted"

Event = dict[str, Any]
Counts = Iterator[tuple[Series, float]]


def as_the_log_has_them(counts: Mapping[Series, float]) -> dict[Series, float]:
    """What `Gatepost.counts` found, but messages that were not accepted in one: the log does not tell them apart."""
    merged: Counter[Series] = Counter()
    for series, number in counts.items():
        if series[0] == "messages_total" and series[2] != "accepted":
            merged["messages_total", series[1], NOT_ACCEPTED] += number  # type: ignore[assignment]  # whole numbers
        else:
            merged[series] = number  # type: ignore[assignment]  # as above
    return dict(merged)


def counted_from(events: Iterable[Event]) -> dict[Series, float]:
    """Every counter that is not 0, named as `as_the_log_has_them` does."""
    counts: Counter[Series] = Counter()
    for event in events:
        for series, number in COUNTED.get(event["event"], _nothing)(event):
            counts[series] += number  # type: ignore[assignment]  # octets and messages are whole numbers
    return {series: float(number) for series, number in counts.items() if number}


def _nothing(_event: Event) -> Counts:
    yield from ()


def _conversation(event: Event) -> Counts:
    listener = event["gatepost.listener"]
    yield ("conversations_total", listener), 1
    yield ("conversations_ended_total", event["gatepost.ending"], listener), 1
    if cipher := event.get("gatepost.tls.cipher"):
        version, resumed = f"TLSv{event['tls.protocol.version']}", str(event["tls.resumed"]).lower()
        yield ("tls_handshakes_total", strength(cipher).value, "client", listener, resumed, version), 1
    for name, number in event["gatepost.replies"].items():
        yield ("replies_total", name, listener), number
    for name, number in event.get("gatepost.refusals", {}).items():
        yield ("refusals_total", code_of(Refusal(name)), listener, name), number
    yield ("messages_total", listener, "accepted"), event["gatepost.messages.accepted"]
    yield ("messages_total", listener, NOT_ACCEPTED), event.get("gatepost.messages.refused", 0)
    yield ("message_recipients_total", listener), event.get("gatepost.recipients", 0)
    yield ("message_body_bytes_total", listener), event.get("gatepost.body.size", 0)


def _authentication(event: Event) -> Counts:
    listener, mechanism = event["gatepost.listener"], event["gatepost.auth.mechanism"]
    result = event["gatepost.auth.result"]
    yield ("auth_attempts_total", event["gatepost.channel"], listener, mechanism, result), 1
    yield ("auth_attempts_by_network_total", "loopback", result), 1
    if event.get("gatepost.auth.exposed"):
        yield ("auth_credentials_exposed_total", listener, mechanism, "loopback"), 1
    if upstream := event.get("gatepost.upstream.auth.mechanism"):
        yield ("auth_rewrites_total", mechanism, result, upstream), 1


def _one(name: str, *keys: str) -> Callable[[Event], Counts]:
    def counted(event: Event) -> Counts:
        yield (name, *(event[key] for key in keys)), 1

    return counted


COUNTED: Mapping[str, Callable[[Event], Counts]] = {
    "conversation": _conversation,
    "authentication": _authentication,
    "violation": _one("violations_total", "gatepost.listener", "gatepost.violation"),
    "limit hit": _one("limits_hit_total", "gatepost.limit", "gatepost.listener"),
    "handshake failed": _one("tls_handshake_failures_total", "gatepost.leg", "gatepost.listener", "error.type"),
    "upstream failed": _one("upstream_failures_total", "gatepost.listener", "error.type"),
    "crashed": _one("crashes_total", "gatepost.listener"),
}
