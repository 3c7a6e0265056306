"""One conversation's facts in, counts and log events out.

A fact is only put down when it is recorded, with the time, since the core has no clock; it is told a little later,
together with others (`observer.py`). Series are bound once for each listener, and facts are told apart by one look into
a dict.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from gatepost.facts import (
    AuthBegan,
    AuthEnded,
    AuthHeard,
    AuthPresented,
    AuthResult,
    AuthRewritten,
    Channel,
    ConversationEnded,
    Crashed,
    Fact,
    HandshakeDone,
    HandshakeFailed,
    HandshakeFailure,
    Leg,
    LimitHit,
    MessageEnded,
    MessageResult,
    MessageSent,
    Peer,
    PolicyDecided,
    Refused,
    Summary,
    Tls,
    UpstreamConnected,
    UpstreamFailed,
    Violated,
)
from gatepost.observe.logins import Logins
from gatepost.observe.logs import Log
from gatepost.observe.metrics import Histogram, Metrics
from gatepost.observe.series import Series, Shared
from gatepost.observe.table import REPLY_CLASSES

QUIET = frozenset({AuthResult.ACCEPTED, AuthResult.CANCELLED, AuthResult.ABANDONED})  # outcomes that need no warning


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the facts of a listener's conversations go."""

    listener: str
    metrics: Metrics
    series: Series
    shared: Shared
    log: Log
    logins: Logins
    network_of: Callable[[str], str]
    turned_down: Callable[[str, str, str], None]  # address, listener, reason: for the status page
    put_down: Callable[[ConversationRecorder, Fact], None]


def version_of(tls: Tls) -> str:
    """As OpenTelemetry has it: the number alone."""
    return tls.version.removeprefix("TLSv")


class ConversationRecorder:
    """One conversation's facts."""

    __slots__ = ("_began", "_desk", "_heard", "_id", "_now", "_peer", "_silent", "_since")

    def __init__(self, desk: Desk, identity: str, peer: Peer) -> None:
        self._desk = desk
        self._id = identity
        self._peer = peer
        self._began = self._since = self._now = time.monotonic()
        self._heard = False  # the exchange with the client has an end of its own; one that is relayed has not
        self._silent = True  # the client has said nothing that was worth an event

    def record(self, fact: Fact) -> None:
        self._desk.put_down(self, fact)

    def tell(self, fact: Fact, now: float) -> None:
        """Count it and log it; it was recorded at `now`, by the monotonic clock."""
        self._now = now
        self._HANDLERS[type(fact)](self, fact)

    def _who(self) -> dict[str, Any]:
        return {
            "conversation.id": self._id,
            "gatepost.listener": self._desk.listener,
            "client.address": self._peer.address,
            "client.port": self._peer.port,
        }

    def _count(self, place: int) -> None:
        """One more, of a kind that an operator will want to follow into the log."""
        self._desk.metrics.add_for(self._id, place)

    def _measure(self, histogram: Histogram) -> None:
        self._desk.metrics.observe(histogram, self._now - self._since)

    def _turned_down(self, reason: str) -> None:
        self._silent = False
        self._desk.turned_down(self._peer.address, self._desk.listener, reason)

    def _begin(self, _fact: AuthBegan | AuthPresented | MessageSent) -> None:
        """What is measured next begins now: one conversation does one thing at a time."""
        self._since = self._now

    # --- TLS and the upstream

    def _handshake_done(self, fact: HandshakeDone) -> None:
        tls = fact.tls
        desk = self._desk
        place = desk.series.handshakes.get((fact.leg, tls.version, tls.strength, tls.resumed))
        if place is not None:
            desk.metrics.add(place)
        desk.metrics.observe(desk.shared.handshake_seconds[fact.leg], fact.seconds)

    def _handshake_failed(self, fact: HandshakeFailed) -> None:
        desk, nothing_said = self._desk, fact.reason is HandshakeFailure.NO_HELLO
        self._count(desk.series.handshake_failures[fact.leg, fact.reason])
        log = desk.log.debug if nothing_said else desk.log.info
        log("handshake failed", **self._who(), **{"gatepost.leg": fact.leg.value, "error.type": fact.reason.value})
        if fact.leg is Leg.CLIENT and not nothing_said:
            self._turned_down(f"handshake: {fact.reason.value}")

    def _connected(self, fact: UpstreamConnected) -> None:
        self._desk.metrics.observe(self._desk.shared.connect_seconds, fact.seconds)

    def _upstream_failed(self, fact: UpstreamFailed) -> None:
        self._count(self._desk.series.upstream_failures[fact.reason])
        self._desk.log.warning("upstream failed", **self._who(), **{"error.type": fact.reason.value})

    # --- AUTH: the client's exchange first, then the upstream's

    def _auth_heard(self, fact: AuthHeard) -> None:
        self._measure(self._desk.shared.client_seconds[fact.mechanism])
        self._heard = True

    def _rewritten(self, fact: AuthRewritten) -> None:
        shared = self._desk.shared
        if self._heard:
            self._measure(shared.upstream_seconds[fact.upstream_mechanism])
        self._desk.metrics.add(shared.rewrites[fact.client_mechanism, fact.upstream_mechanism, fact.result])

    def _decided(self, fact: PolicyDecided) -> None:
        self._desk.metrics.add(self._desk.series.decisions[fact.minimum, fact.refused])

    def _auth_ended(self, fact: AuthEnded) -> None:
        desk, network = self._desk, self._desk.network_of(self._peer.address)
        self._heard = False
        self._count(desk.series.attempts[fact.mechanism, fact.result])
        desk.metrics.add(desk.shared.by_network[network, fact.result])
        if fact.exposed:
            self._count(desk.series.exposed[network, fact.mechanism])
        event = self._who()
        event["gatepost.auth.mechanism"] = fact.mechanism.value
        event["gatepost.auth.result"] = fact.result.value
        event["gatepost.channel"] = fact.channel.value
        event |= desk.logins.fields(fact.channel, fact.user)
        if fact.upstream_mechanism is not None:
            event["gatepost.upstream.auth.mechanism"] = fact.upstream_mechanism.value
        if fact.exposed:
            event["gatepost.auth.exposed"] = True
        if fact.result in QUIET:
            desk.log.info("authentication", **event)
        else:
            desk.log.warning("authentication", **event)
            self._turned_down(f"{fact.mechanism.value}: {fact.result.value}")

    # --- what went on

    def _refused(self, fact: Refused) -> None:
        self._desk.metrics.add(self._desk.series.refusals[fact.refusal])

    def _violated(self, fact: Violated) -> None:
        self._count(self._desk.series.violations[fact.violation])
        self._desk.log.warning("violation", **self._who(), **{"gatepost.violation": fact.violation.value})
        self._turned_down(f"violation: {fact.violation.value}")

    def _limit_hit(self, fact: LimitHit) -> None:
        self._count(self._desk.series.limits[fact.limit])
        self._desk.log.warning("limit hit", **self._who(), **{"gatepost.limit": fact.limit.value})
        self._turned_down(f"limit: {fact.limit.value}")

    def _message_ended(self, fact: MessageEnded) -> None:
        metrics, series = self._desk.metrics, self._desk.series
        metrics.add(series.messages[fact.result])
        if fact.result is MessageResult.ACCEPTED:
            self._measure(self._desk.shared.accept_seconds)
            metrics.add(series.body_bytes, fact.body_bytes)
            metrics.add(series.recipients, fact.recipients)

    def _crashed(self, fact: Crashed) -> None:
        self._count(self._desk.series.crashes)
        where = {"error.type": fact.error, "code.stacktrace": "\n".join(fact.frames)}
        self._desk.log.error("crashed", **self._who(), **where)

    # --- the end

    def _ended(self, fact: ConversationEnded) -> None:
        metrics, series, summary = self._desk.metrics, self._desk.series, fact.summary
        seconds = self._now - self._began
        metrics.add(series.ended[summary.ending])
        metrics.observe_for(self._id, series.duration, seconds)
        event = self._who()
        event["gatepost.duration"] = round(seconds, 6)
        event["gatepost.ending"] = summary.ending.value
        event["gatepost.channel"] = summary.channel.value
        event["gatepost.commands"] = summary.commands
        event["gatepost.replies"] = replies = {}
        for name, place, count in zip(REPLY_CLASSES, series.replies, summary.replies, strict=True):
            if count:
                metrics.add(place, count)
                replies[name] = count
        self._add_what_was_agreed(event, summary)
        _add_what_was_sent(event, summary)
        _add_what_went_wrong(event, summary)
        silent = self._silent and not summary.commands and summary.tls is None
        (self._desk.log.debug if silent else self._desk.log.info)("conversation", **event)

    def _add_what_was_agreed(self, event: dict[str, Any], summary: Summary) -> None:
        if summary.hello:
            event["smtp.hello"] = summary.hello
        if summary.tls is not None:
            event["tls.protocol.version"] = version_of(summary.tls)
            event["gatepost.tls.cipher"] = summary.tls.cipher
            event["tls.resumed"] = summary.tls.resumed
        if summary.upstream_tls is not None:
            event["gatepost.upstream.tls.version"] = version_of(summary.upstream_tls)
        if summary.mechanism is not None:
            event |= self._desk.logins.fields(Channel.TLS, summary.user)
            event["gatepost.auth.mechanism"] = summary.mechanism.value
        if summary.upstream_mechanism is not None:
            event["gatepost.upstream.auth.mechanism"] = summary.upstream_mechanism.value

    _HANDLERS: ClassVar[dict[type, Callable[[ConversationRecorder, Any], None]]] = {
        HandshakeDone: _handshake_done,
        HandshakeFailed: _handshake_failed,
        UpstreamConnected: _connected,
        UpstreamFailed: _upstream_failed,
        AuthBegan: _begin,
        AuthHeard: _auth_heard,
        AuthPresented: _begin,
        AuthRewritten: _rewritten,
        PolicyDecided: _decided,
        AuthEnded: _auth_ended,
        Refused: _refused,
        Violated: _violated,
        LimitHit: _limit_hit,
        MessageSent: _begin,
        MessageEnded: _message_ended,
        Crashed: _crashed,
        ConversationEnded: _ended,
    }


def _add_what_was_sent(event: dict[str, Any], summary: Summary) -> None:
    event["gatepost.messages.accepted"] = summary.messages_accepted
    if summary.messages_accepted:
        event["gatepost.recipients"] = summary.recipients
        event["gatepost.body.size"] = summary.body_bytes
    if summary.messages_refused:
        event["gatepost.messages.refused"] = summary.messages_refused


def _add_what_went_wrong(event: dict[str, Any], summary: Summary) -> None:
    """Absent when nothing did."""
    if summary.auth_failures:
        event["gatepost.auth.failures"] = summary.auth_failures
    if summary.exposed:
        event["gatepost.auth.exposed"] = True
    if summary.refusals:
        event["gatepost.refusals"] = {refusal.value: count for refusal, count in summary.refusals.items()}
    if summary.upstream_failure is not None:
        event["error.type"] = summary.upstream_failure.value
    if summary.violations:
        event["gatepost.violations"] = sorted(violation.value for violation in summary.violations)
