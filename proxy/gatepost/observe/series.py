"""Where every series that facts move is: looking one up by its labels costs more than counting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from gatepost.facts import (
    AuthResult,
    Backend,
    Channel,
    CipherClass,
    Ending,
    Label,
    Leg,
    Mechanism,
    MessageResult,
    Refusal,
    UpstreamFailure,
    Violation,
)
from gatepost.observe.metrics import Histogram, Metrics
from gatepost.observe.table import (
    AT_THE_DOOR,
    CLIENT_MECHANISMS,
    INSIDE,
    PRESENTED,
    REPLY_CLASSES,
    SPOKEN_MECHANISMS,
    TLS_VERSIONS,
    UPSTREAM_MECHANISMS,
    cipher_classes,
    code_of,
    handshake_failures,
)

L = TypeVar("L", bound=Label)


class Series:
    """Those of one listener."""

    def __init__(self, metrics: Metrics, listener: str, networks: Iterable[str]) -> None:
        def each(name: str, members: Iterable[L]) -> dict[L, int]:
            return {member: metrics.place(name, listener, member.value) for member in members}

        self.conversations = metrics.place("gatepost_conversations", listener)
        self.ended = each("gatepost_conversations_ended", Ending)
        self.duration = metrics.histogram("gatepost_conversation_duration_seconds", listener)
        self.replies = [metrics.place("gatepost_replies", listener, name) for name in REPLY_CLASSES]
        self.refusals = {
            refusal: metrics.place("gatepost_refusals", listener, refusal.value, code_of(refusal))
            for refusal in Refusal
        }
        self.limits = each("gatepost_limits_hit", INSIDE)
        self.turned_away = each("gatepost_connections_refused", AT_THE_DOOR)
        self.violations = each("gatepost_violations", Violation)
        self.messages = each("gatepost_messages", MessageResult)
        self.body_bytes = metrics.place("gatepost_message_body_bytes", listener)
        self.recipients = metrics.place("gatepost_message_recipients", listener)
        self.upstream_failures = each("gatepost_upstream_failures", UpstreamFailure)
        self.crashes = metrics.place("gatepost_crashes", listener)
        self.attempts = _attempts(metrics, listener)
        self.exposed = _exposed(metrics, listener, networks)
        self.decisions = _decisions(metrics, listener)
        self.handshakes = _handshakes(metrics, listener)
        self.handshake_failures = {
            (leg, reason): metrics.place("gatepost_tls_handshake_failures", listener, leg.value, reason.value)
            for leg in Leg
            for reason in handshake_failures(leg)
        }


def _attempts(metrics: Metrics, listener: str) -> dict[tuple[Mechanism, AuthResult], int]:
    def one(mechanism: Mechanism, result: AuthResult) -> int:
        channel = Channel.CLEAR if result is AuthResult.CLEAR_REFUSED else Channel.TLS
        return metrics.place("gatepost_auth_attempts", listener, mechanism.value, channel.value, result.value)

    return {(mechanism, result): one(mechanism, result) for mechanism in CLIENT_MECHANISMS for result in AuthResult}


def _exposed(metrics: Metrics, listener: str, networks: Iterable[str]) -> dict[tuple[str, Mechanism], int]:
    return {
        (network, mechanism): metrics.place("gatepost_auth_credentials_exposed", listener, network, mechanism.value)
        for network in networks
        for mechanism in CLIENT_MECHANISMS
    }


def _decisions(metrics: Metrics, listener: str) -> dict[tuple[Mechanism, bool], int]:
    return {
        (minimum, refused): metrics.place("gatepost_policy_decisions", listener, minimum.value, decision)
        for minimum in SPOKEN_MECHANISMS
        for refused, decision in ((False, "allowed"), (True, "refused"))
    }


def _handshakes(metrics: Metrics, listener: str) -> dict[tuple[Leg, str, CipherClass, bool], int]:
    return {
        (leg, version, cipher, resumed): metrics.place(
            "gatepost_tls_handshakes", listener, leg.value, version, cipher.value, str(resumed).lower()
        )
        for leg in Leg
        for version in TLS_VERSIONS
        for cipher in cipher_classes(version)
        for resumed in (False, True)
    }


class Shared:
    """Those that are not of one listener."""

    def __init__(self, metrics: Metrics, networks: Iterable[str]) -> None:
        def each(name: str, members: Iterable[L], *before: str) -> dict[L, Histogram]:
            return {member: metrics.histogram(name, *before, member.value) for member in members}

        self.rewrites = {
            (client, upstream, result): metrics.place(
                "gatepost_auth_rewrites", client.value, upstream.value, result.value
            )
            for client in SPOKEN_MECHANISMS
            for upstream in UPSTREAM_MECHANISMS
            for result in PRESENTED
        }
        self.by_network = {
            (network, result): metrics.place("gatepost_auth_attempts_by_network", network, result.value)
            for network in networks
            for result in AuthResult
        }
        self.client_seconds = each("gatepost_auth_duration_seconds", CLIENT_MECHANISMS, Leg.CLIENT.value)
        self.upstream_seconds = each("gatepost_auth_duration_seconds", UPSTREAM_MECHANISMS, Leg.UPSTREAM.value)
        self.handshake_seconds = each("gatepost_tls_handshake_duration_seconds", Leg)
        self.backend_seconds = each("gatepost_backend_duration_seconds", Backend)
        self.connect_seconds = metrics.histogram("gatepost_upstream_connect_duration_seconds")
        self.accept_seconds = metrics.histogram("gatepost_message_accept_duration_seconds")
        self.loop_seconds = metrics.histogram("gatepost_event_loop_lag_seconds")
