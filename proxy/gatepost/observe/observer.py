"""Facts in, counts and log events out.

A conversation's recorder keeps the time between facts, since the core has no clock. Counting happens for every session
many times: series are bound once for each listener, and facts are told apart by one look into a dict.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from prometheus_client import Counter, Histogram
from structlog.typing import FilteringBoundLogger

from gatepost.facts import (
    AuthBegan,
    AuthEnded,
    AuthResult,
    AuthRewritten,
    Backend,
    BackendAsked,
    BackendResult,
    CertificateLoaded,
    CertificatesRefused,
    Channel,
    ConnectionRefused,
    ConversationEnded,
    Crashed,
    CredentialsExposed,
    DrainBegan,
    Ending,
    Fact,
    HandshakeDone,
    HandshakeFailed,
    HandshakeFailure,
    Label,
    Leg,
    Limit,
    LimitHit,
    MessageEnded,
    MessageResult,
    Peer,
    ProcessFact,
    Refusal,
    Refused,
    Started,
    Stopped,
    UpstreamConnected,
    UpstreamFailed,
    UpstreamFailure,
    UpstreamProbed,
    UsersLoaded,
    UsersRefused,
    Violated,
    Violation,
)
from gatepost.observe.metrics import (
    CLIENT_MECHANISMS,
    PRESENTED,
    SPOKEN_MECHANISMS,
    TLS_VERSIONS,
    UPSTREAM_MECHANISMS,
    Metrics,
)

L = TypeVar("L", bound=Label)
QUIET = frozenset({AuthResult.ACCEPTED, AuthResult.CANCELLED, AuthResult.ABANDONED})  # outcomes that need no warning


class Series:
    """Every series of one listener, bound."""

    def __init__(self, metrics: Metrics, listener: str) -> None:
        def each(name: str, members: Iterable[L]) -> dict[L, Counter]:
            return {member: metrics.counter(name, listener, member.value) for member in members}

        self.conversations = metrics.counter("gatepost_conversations", listener)
        self.active = metrics.gauge("gatepost_conversations_active", listener)
        self.ended = each("gatepost_conversations_ended", Ending)
        self.duration = metrics.histogram("gatepost_conversation_duration_seconds", listener)
        self.limits = each("gatepost_limits_hit", Limit)
        self.turned_away = each("gatepost_connections_refused", Limit)
        self.violations = each("gatepost_violations", Violation)
        self.refusals = each("gatepost_refusals", Refusal)
        self.messages = each("gatepost_messages", MessageResult)
        self.body_bytes = metrics.counter("gatepost_message_body_bytes", listener)
        self.recipients = metrics.counter("gatepost_message_recipients", listener)
        self.clear_refused = each("gatepost_auth_clear_refused", CLIENT_MECHANISMS)
        self.exposed = each("gatepost_auth_credentials_exposed", CLIENT_MECHANISMS)
        self.upstream_failures = each("gatepost_upstream_failures", UpstreamFailure)
        self.crashes = metrics.counter("gatepost_crashes", listener)
        self.attempts = {
            (mechanism, result): metrics.counter("gatepost_auth_attempts", listener, mechanism.value, result.value)
            for mechanism in CLIENT_MECHANISMS
            for result in AuthResult
        }
        self.handshakes = {
            (leg, version): metrics.counter("gatepost_tls_handshakes", listener, leg.value, version)
            for leg in Leg
            for version in TLS_VERSIONS
        }
        self.resumed = each("gatepost_tls_handshakes_resumed", Leg)
        self.handshake_failures = {
            (leg, reason): metrics.counter("gatepost_tls_handshake_failures", listener, leg.value, reason.value)
            for leg in Leg
            for reason in HandshakeFailure
        }


def _each_histogram(metrics: Metrics, name: str, members: Iterable[L]) -> dict[L, Histogram]:
    return {member: metrics.histogram(name, member.value) for member in members}


class Shared:
    """Every series that is not of one listener, bound."""

    def __init__(self, metrics: Metrics) -> None:
        self.rewrites = {
            (client, upstream, result): metrics.counter(
                "gatepost_auth_rewrites", client.value, upstream.value, result.value
            )
            for client in SPOKEN_MECHANISMS
            for upstream in UPSTREAM_MECHANISMS
            for result in PRESENTED
        }
        self.auth_seconds = _each_histogram(metrics, "gatepost_auth_duration_seconds", CLIENT_MECHANISMS)
        self.handshake_seconds = _each_histogram(metrics, "gatepost_tls_handshake_duration_seconds", Leg)
        self.connect_seconds = metrics.histogram("gatepost_upstream_connect_duration_seconds")
        self.backend_seconds = _each_histogram(metrics, "gatepost_backend_duration_seconds", Backend)


class Observer:
    """Where all facts go."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger, listeners: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._log = log
        self._shared = Shared(metrics)
        self._series = {listener: Series(metrics, listener) for listener in listeners}
        self._upstream_up: bool | None = None
        self._names: dict[str, str] = {}  # of certificates, by file
        self._ids = (f"{number:016x}" for number in itertools.count(int.from_bytes(os.urandom(7), "big")))
        self._handlers: dict[type, Callable[[Any], None]] = {
            UpstreamProbed: self._probed,
            CertificateLoaded: self._loaded,
            CertificatesRefused: self._not_loaded,
            UsersLoaded: self._users_loaded,
            UsersRefused: self._users_not_loaded,
            BackendAsked: self._asked,
            ConnectionRefused: self._turned_away,
            Started: self._started,
            DrainBegan: lambda fact: log.info("draining", **{"gatepost.conversations": fact.conversations}),
            Stopped: lambda fact: log.info("stopped", **{"gatepost.cut_off": fact.cut_off}),
        }

    def conversation(self, listener: str, peer: Peer) -> ConversationRecorder:
        """The recorder of a new conversation, which is counted as active until it has ended."""
        series = self._series[listener]
        series.conversations.inc()
        series.active.inc()
        return ConversationRecorder((series, self._shared), self._log, next(self._ids), listener=listener, peer=peer)

    def record(self, fact: ProcessFact) -> None:
        self._handlers[type(fact)](fact)

    def _started(self, fact: Started) -> None:
        self._log.info(
            "started", **{"gatepost.listeners": fact.listeners, "gatepost.conversations.limit": fact.conversations}
        )

    def _probed(self, fact: UpstreamProbed) -> None:
        up = fact.failure is None
        self._metrics.gauge("gatepost_upstream_up").set(up)
        self._metrics.gauge("gatepost_upstream_probe_duration_seconds").set(fact.seconds)
        if up is not self._upstream_up:  # a change, not every probe
            self._upstream_up = up
            if fact.failure is None:
                self._log.info("upstream up", **{"gatepost.probe.duration": round(fact.seconds, 6)})
            else:
                self._log.warning("upstream down", **{"error.type": fact.failure.value})

    def _loaded(self, fact: CertificateLoaded) -> None:
        expiry_of = "gatepost_certificate_not_after_timestamp_seconds"
        if (before := self._names.get(fact.file, fact.name)) != fact.name:
            self._metrics.forget(expiry_of, fact.file, before)  # renewed under another name: the old one is not served
        self._names[fact.file] = fact.name
        self._metrics.gauge(expiry_of, fact.file, fact.name).set(fact.not_after)
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(fact.not_after))
        self._log.info("certificate loaded", **{"file.name": fact.file, "tls.server.not_after": expiry})

    def _not_loaded(self, fact: CertificatesRefused) -> None:
        self._metrics.counter("gatepost_certificate_reload_failures").inc()
        self._log.error("certificates refused", **{"error.message": fact.why})

    def _users_loaded(self, fact: UsersLoaded) -> None:
        self._metrics.gauge("gatepost_users").set(fact.users)
        self._log.info("users loaded", **{"file.name": fact.file, "gatepost.users": fact.users})

    def _users_not_loaded(self, fact: UsersRefused) -> None:
        self._metrics.counter("gatepost_users_reload_failures").inc()
        self._log.error("users refused", **{"error.message": fact.why})

    def _asked(self, fact: BackendAsked) -> None:
        self._metrics.counter("gatepost_backend_requests", fact.backend.value, fact.result.value).inc()
        if fact.result is BackendResult.CACHED:
            return
        self._shared.backend_seconds[fact.backend].observe(fact.seconds)
        if fact.result is not BackendResult.ANSWERED:
            event = {"gatepost.backend": fact.backend.value, "error.type": fact.result.value}
            self._log.warning("backend failed", **event, **{"gatepost.duration": round(fact.seconds, 6)})

    def _turned_away(self, fact: ConnectionRefused) -> None:
        self._series[fact.listener].turned_away[fact.limit].inc()


class ConversationRecorder:
    """One conversation's facts."""

    __slots__ = ("_auth_began", "_began", "_id", "_listener", "_log", "_peer", "_series", "_shared")

    def __init__(
        self, series: tuple[Series, Shared], log: FilteringBoundLogger, identity: str, *, listener: str, peer: Peer
    ) -> None:
        self._series, self._shared = series
        self._log = log
        self._id = identity
        self._listener = listener
        self._peer = peer
        self._began = time.monotonic()
        self._auth_began = 0.0

    def record(self, fact: Fact) -> None:
        self._HANDLERS[type(fact)](self, fact)

    def _who(self) -> dict[str, Any]:
        return {
            "conversation.id": self._id,
            "gatepost.listener": self._listener,
            "client.address": self._peer.address,
            "client.port": self._peer.port,
        }

    # --- TLS and the upstream

    def _handshake_done(self, fact: HandshakeDone) -> None:
        series = self._series
        counter = series.handshakes.get((fact.leg, fact.tls.version))
        if counter is not None:
            counter.inc()
        if fact.tls.resumed:
            series.resumed[fact.leg].inc()
        self._shared.handshake_seconds[fact.leg].observe(fact.seconds)

    def _handshake_failed(self, fact: HandshakeFailed) -> None:
        self._series.handshake_failures[fact.leg, fact.reason].inc()
        self._log.info(
            "handshake failed", **self._who(), **{"gatepost.leg": fact.leg.value, "error.type": fact.reason.value}
        )

    def _connected(self, fact: UpstreamConnected) -> None:
        self._shared.connect_seconds.observe(fact.seconds)

    def _upstream_failed(self, fact: UpstreamFailed) -> None:
        self._series.upstream_failures[fact.reason].inc()
        self._log.warning("upstream failed", **self._who(), **{"error.type": fact.reason.value})

    # --- AUTH

    def _auth_began_now(self, _fact: AuthBegan) -> None:
        self._auth_began = time.monotonic()

    def _auth_ended(self, fact: AuthEnded) -> None:
        series = self._series
        series.attempts[fact.mechanism, fact.result].inc()
        if fact.result is AuthResult.CLEAR_REFUSED:
            series.clear_refused[fact.mechanism].inc()
        else:
            self._shared.auth_seconds[fact.mechanism].observe(time.monotonic() - self._auth_began)
        presented = fact.upstream_mechanism
        log = self._log.info if fact.result in QUIET else self._log.warning
        log(
            "authentication",
            **self._who(),
            **{
                "gatepost.auth.mechanism": fact.mechanism.value,
                "gatepost.auth.result": fact.result.value,
                "gatepost.channel": fact.channel.value,
            },
            **({"user.name": fact.user} if fact.channel is Channel.TLS and fact.user else {}),
            **({"gatepost.upstream.auth.mechanism": presented.value} if presented else {}),
        )

    def _exposed(self, fact: CredentialsExposed) -> None:
        self._series.exposed[fact.mechanism].inc()

    def _rewritten(self, fact: AuthRewritten) -> None:
        self._shared.rewrites[fact.client_mechanism, fact.upstream_mechanism, fact.result].inc()

    # --- what went on

    def _refused(self, fact: Refused) -> None:
        self._series.refusals[fact.refusal].inc()

    def _violated(self, fact: Violated) -> None:
        self._series.violations[fact.violation].inc()
        self._log.warning("violation", **self._who(), **{"gatepost.violation": fact.violation.value})

    def _limit_hit(self, fact: LimitHit) -> None:
        self._series.limits[fact.limit].inc()
        self._log.warning("limit hit", **self._who(), **{"gatepost.limit": fact.limit.value})

    def _message_ended(self, fact: MessageEnded) -> None:
        series = self._series
        series.messages[fact.result].inc()
        if fact.result is MessageResult.ACCEPTED:
            series.body_bytes.inc(fact.body_bytes)
            series.recipients.inc(fact.recipients)

    def _crashed(self, fact: Crashed) -> None:
        self._series.crashes.inc()
        self._log.error("crashed", **self._who(), **{"error.type": fact.error, "error.frames": fact.frames})

    def _ended(self, fact: ConversationEnded) -> None:
        series, summary = self._series, fact.summary
        seconds = time.monotonic() - self._began
        series.active.dec()
        series.ended[summary.ending].inc()
        series.duration.observe(seconds)
        event: dict[str, Any] = {
            **self._who(),
            "gatepost.duration": round(seconds, 6),
            "gatepost.ending": summary.ending.value,
            "gatepost.channel": summary.channel.value,
            "smtp.hello": summary.hello,
            "gatepost.commands": summary.commands,
            "gatepost.messages.accepted": summary.messages_accepted,
        }
        if summary.tls is not None:
            event["tls.protocol.version"] = summary.tls.version
            event["tls.cipher"] = summary.tls.cipher
            event["tls.resumed"] = summary.tls.resumed
        if summary.mechanism is not None:
            event["user.name"] = summary.user
            event["gatepost.auth.mechanism"] = summary.mechanism.value
        if summary.upstream_mechanism is not None:
            event["gatepost.upstream.auth.mechanism"] = summary.upstream_mechanism.value
        if summary.messages_accepted:
            event["gatepost.recipients"] = summary.recipients
            event["gatepost.body.size"] = summary.body_bytes
        self._add_trouble(event, fact)
        self._log.info("conversation", **event)

    @staticmethod
    def _add_trouble(event: dict[str, Any], fact: ConversationEnded) -> None:
        """What did not go well; absent when all did."""
        summary = fact.summary
        if summary.messages_refused:
            event["gatepost.messages.refused"] = summary.messages_refused
        if summary.auth_failures:
            event["gatepost.auth.failures"] = summary.auth_failures
        if summary.exposed:
            event["gatepost.auth.exposed"] = True
        if summary.last_refusal is not None:
            event["gatepost.refusal"] = summary.last_refusal.value
        if summary.upstream_failure is not None:
            event["error.type"] = summary.upstream_failure.value
        if summary.upstream_tls is not None:
            event["gatepost.upstream.tls.version"] = summary.upstream_tls.version
        if summary.violations:
            event["gatepost.violations"] = sorted(violation.value for violation in summary.violations)

    _HANDLERS: ClassVar[dict[type, Callable[[ConversationRecorder, Any], None]]] = {
        HandshakeDone: _handshake_done,
        HandshakeFailed: _handshake_failed,
        UpstreamConnected: _connected,
        UpstreamFailed: _upstream_failed,
        AuthBegan: _auth_began_now,
        AuthEnded: _auth_ended,
        CredentialsExposed: _exposed,
        AuthRewritten: _rewritten,
        Refused: _refused,
        Violated: _violated,
        LimitHit: _limit_hit,
        MessageEnded: _message_ended,
        Crashed: _crashed,
        ConversationEnded: _ended,
    }
