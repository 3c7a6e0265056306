"""The metrics: one table, and the registry that is made from it.

Every label is a closed set, and every series exists from the first scrape on, at 0: what never happened is then told
apart from what is not measured. `docs/metrics.md` is generated from the table.
"""

from __future__ import annotations

import platform
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from gatepost import __version__
from gatepost.facts import (
    AuthResult,
    Backend,
    BackendResult,
    Ending,
    HandshakeFailure,
    Label,
    Leg,
    Limit,
    Mechanism,
    MessageResult,
    Refusal,
    UpstreamFailure,
    Violation,
)

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds, of one exchange
LONG = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)  # seconds, of a whole conversation

Mechanisms = tuple[Mechanism, ...]
CLIENT_MECHANISMS: Mechanisms = tuple(mechanism for mechanism in Mechanism if mechanism is not Mechanism.XCLIENT)
UPSTREAM_MECHANISMS: Mechanisms = tuple(mechanism for mechanism in Mechanism if mechanism is not Mechanism.OTHER)
SPOKEN_MECHANISMS: Mechanisms = tuple(mechanism for mechanism in CLIENT_MECHANISMS if mechanism is not Mechanism.OTHER)
PRESENTED: tuple[AuthResult, ...] = (  # what can come of a login that was presented to the upstream
    AuthResult.ACCEPTED,
    AuthResult.REJECTED,
    AuthResult.UPSTREAM_UNAVAILABLE,
    AuthResult.UPSTREAM_REFUSED,
    AuthResult.UPSTREAM_UNPROVEN,
)
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CLOSED: dict[str, Iterable[Label]] = {
    "leg": Leg,
    "mechanism": CLIENT_MECHANISMS,
    "client_mechanism": SPOKEN_MECHANISMS,
    "upstream_mechanism": UPSTREAM_MECHANISMS,
    "backend": Backend,
    "ending": Ending,
    "limit": Limit,
    "refusal": Refusal,
    "violation": Violation,
}
RESULTS: dict[str, Iterable[Label]] = {
    "gatepost_auth_attempts": AuthResult,
    "gatepost_auth_rewrites": PRESENTED,
    "gatepost_backend_requests": BackendResult,
    "gatepost_messages": MessageResult,
}
REASONS: dict[str, Iterable[Label]] = {
    "gatepost_tls_handshake_failures": HandshakeFailure,
    "gatepost_upstream_failures": UpstreamFailure,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is without the `_total` of counters."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def shown_name(self) -> str:
        return self.name + "_total" if self.kind is Counter else self.name

    def values(self, label: str, listeners: Sequence[str]) -> Sequence[str]:
        """All values that a label can have; none for the labels of certificates, which the operator names."""
        if label == "listener":
            return listeners
        if label == "version":
            return TLS_VERSIONS
        closed = CLOSED.get(label) or (RESULTS if label == "result" else REASONS).get(self.name)
        return [member.value for member in closed] if closed else ()


TABLE = (
    Metric("gatepost_conversations", Counter, "Client connections let in.", ("listener",)),
    Metric("gatepost_conversations_active", Gauge, "Client connections open now.", ("listener",)),
    Metric("gatepost_conversations_ended", Counter, "Conversations by how they ended.", ("listener", "ending")),
    Metric("gatepost_conversation_duration_seconds", Histogram, "From connect to close.", ("listener",), LONG),
    Metric("gatepost_connections_refused", Counter, "Connections turned away at the door.", ("listener", "limit")),
    Metric("gatepost_limits_hit", Counter, "Limits that were hit inside conversations.", ("listener", "limit")),
    Metric("gatepost_violations", Counter, "Protocol breaches as attacks make them.", ("listener", "violation")),
    Metric("gatepost_refusals", Counter, "Refusals that gatepost answered itself.", ("listener", "refusal")),
    Metric("gatepost_tls_handshakes", Counter, "TLS handshakes that succeeded.", ("listener", "leg", "version")),
    Metric("gatepost_tls_handshakes_resumed", Counter, "Those of them that resumed.", ("listener", "leg")),
    Metric("gatepost_tls_handshake_failures", Counter, "TLS handshakes that failed.", ("listener", "leg", "reason")),
    Metric("gatepost_tls_handshake_duration_seconds", Histogram, "Of those that succeeded.", ("leg",), FAST),
    Metric(
        "gatepost_auth_attempts",
        Counter,
        "AUTH attempts by what came of them.",
        ("listener", "mechanism", "result"),
    ),
    Metric(
        "gatepost_auth_clear_refused",
        Counter,
        "AUTH refused because the channel was clear.",
        ("listener", "mechanism"),
    ),
    Metric(
        "gatepost_auth_credentials_exposed",
        Counter,
        "Credentials that a client sent over a clear channel all the same.",
        ("listener", "mechanism"),
    ),
    Metric(
        "gatepost_auth_rewrites",
        Counter,
        "Logins presented to the upstream, by both mechanisms and what it answered.",
        ("client_mechanism", "upstream_mechanism", "result"),
    ),
    Metric("gatepost_auth_duration_seconds", Histogram, "From AUTH to its last reply.", ("mechanism",), FAST),
    Metric("gatepost_backend_requests", Counter, "Questions to backends by how they went.", ("backend", "result")),
    Metric("gatepost_backend_duration_seconds", Histogram, "Of those not answered from memory.", ("backend",), FAST),
    Metric("gatepost_users", Gauge, "Users in the users file that is in use."),
    Metric("gatepost_users_reload_failures", Counter, "Changed users files that could not be used."),
    Metric("gatepost_messages", Counter, "Messages by what came of them.", ("listener", "result")),
    Metric("gatepost_message_body_bytes", Counter, "Octets of accepted messages.", ("listener",)),
    Metric("gatepost_message_recipients", Counter, "Recipients of accepted messages.", ("listener",)),
    Metric("gatepost_upstream_up", Gauge, "1 when the last probe of the upstream was answered well."),
    Metric("gatepost_upstream_failures", Counter, "Upstream legs that could not be used.", ("listener", "reason")),
    Metric("gatepost_upstream_connect_duration_seconds", Histogram, "From dialling to its first octet.", (), FAST),
    Metric("gatepost_upstream_probe_duration_seconds", Gauge, "How long the last probe took."),
    Metric(
        "gatepost_certificate_not_after_timestamp_seconds",
        Gauge,
        "When a certificate in use expires, in seconds since the epoch.",
        ("file", "name"),
    ),
    Metric("gatepost_certificate_reload_failures", Counter, "Changed certificate files that could not be used."),
    Metric("gatepost_crashes", Counter, "Conversations that a bug in gatepost ended.", ("listener",)),
)


class Metrics:
    """The registry, filled from the table."""

    def __init__(self, listeners: Sequence[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self._listeners = listeners
        self._registry = CollectorRegistry()
        self._families = {metric.name: self._register(metric) for metric in TABLE}
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        build = Info("gatepost_build", "What is running.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION})

    def _register(self, metric: Metric) -> Counter | Gauge | Histogram:
        family: Counter | Gauge | Histogram
        if metric.kind is Histogram:
            family = Histogram(metric.name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets)
        else:
            family = metric.kind(metric.name, metric.help, metric.labels, registry=self._registry)
        if metric.labels:
            for values in product(*(metric.values(label, self._listeners) for label in metric.labels)):
                family.labels(*values)
        return family

    def counter(self, name: str, *values: str) -> Counter:
        """One series, bound once and kept: looking it up by labels costs more than counting."""
        family = self._families[name]
        assert isinstance(family, Counter)  # noqa: S101  the table says so
        return family.labels(*values) if values else family

    def gauge(self, name: str, *values: str) -> Gauge:
        family = self._families[name]
        assert isinstance(family, Gauge)  # noqa: S101  the table says so
        return family.labels(*values) if values else family

    def histogram(self, name: str, *values: str) -> Histogram:
        family = self._families[name]
        assert isinstance(family, Histogram)  # noqa: S101  the table says so
        return family.labels(*values) if values else family

    def forget(self, name: str, *values: str) -> None:
        """Remove a series of a label that is not closed."""
        self._families[name].remove(*values)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Content type and body, in the form that an Accept header asks for."""
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # the library compares a version that is not a number, "version=abc", with one that is
            encode, content_type = choose_encoder("")
        return content_type, encode(self._registry)
