"""The table of all metrics: their names, their labels, and every value that a label can have.

Every label is a closed set, and every series that can ever move exists from the first scrape on, at 0: what never
happened is then told apart from what is not measured. `docs/metrics.md` is generated from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

from gatepost.facts import (
    AuthResult,
    Backend,
    BackendResult,
    Channel,
    CipherClass,
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
from gatepost.session.phases import Phase
from gatepost.wire.refusals import REFUSALS

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
AT_THE_DOOR: tuple[Limit, ...] = (Limit.CONVERSATIONS, Limit.CONVERSATIONS_PER_CLIENT, Limit.FILE_DESCRIPTORS)
INSIDE: tuple[Limit, ...] = tuple(limit for limit in Limit if limit not in AT_THE_DOOR)
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
REPLY_CLASSES = ("2xx", "3xx", "4xx", "5xx")

Values = tuple[str, ...]
NAMED: Values = ("by the settings",)  # the names that the settings give to listeners and networks
OPEN: Values = ()  # the operator's own words: such a series comes and goes with what it speaks of


def _names(labels: Iterable[Label]) -> Values:
    return tuple(label.value for label in labels)


def cipher_classes(version: str) -> tuple[CipherClass, ...]:
    """Those that a version of TLS has (RFC 8446 section 1.2: 1.3 has AEAD alone; RFC 5246: AEAD came with 1.2)."""
    if version == "TLSv1.3":
        return (CipherClass.AEAD,)
    return tuple(each for each in CipherClass if version == "TLSv1.2" or each is not CipherClass.AEAD)


def _has_cipher(series: Mapping[str, str]) -> bool:
    return CipherClass(series["cipher"]) in cipher_classes(series["version"])


def _crosses_channel(series: Mapping[str, str]) -> bool:
    """On a clear channel every attempt has the same end."""
    return (series["channel"] == Channel.CLEAR.value) is (series["result"] == AuthResult.CLEAR_REFUSED.value)


def _is_spoken(series: Mapping[str, str]) -> bool:
    spoken = CLIENT_MECHANISMS if series["leg"] == Leg.CLIENT.value else UPSTREAM_MECHANISMS
    return Mechanism(series["mechanism"]) in spoken


def code_of(refusal: Refusal) -> str:
    return REFUSALS[refusal][:3].decode()


def handshake_failures(leg: Leg) -> tuple[HandshakeFailure, ...]:
    """A client has no pins, and need not show a certificate; an upstream is not the one to begin."""
    never = {
        HandshakeFailure.NO_CERTIFICATE,
        {Leg.CLIENT: HandshakeFailure.BAD_PIN}.get(leg, HandshakeFailure.NO_HELLO),
    }
    return tuple(reason for reason in HandshakeFailure if reason not in never)


def _can_fail(series: Mapping[str, str]) -> bool:
    return HandshakeFailure(series["reason"]) in handshake_failures(Leg(series["leg"]))


def _has_code(series: Mapping[str, str]) -> bool:
    return series["code"] == code_of(Refusal(series["refusal"]))


class Kind(Enum):
    """Of a metric, by Prometheus' names."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is without the `_total` of counters; `labels` have all values that they can ever take."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, Values] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    possible: Callable[[Mapping[str, str]], bool] = lambda _: True  # which combinations of values there are

    @property
    def shown_name(self) -> str:
        return self.name + "_total" if self.kind is Kind.COUNTER else self.name

    @property
    def places(self) -> int:
        """How many values a series has: of a histogram, its buckets, one without bound, and the sum."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    def series(self, named: Mapping[str, Sequence[str]]) -> Iterator[Values]:
        """Yield the label values of every series that can be; `named` has the names by their labels."""
        domains = [named[label] if values is NAMED else values for label, values in self.labels.items()]
        for values in product(*domains):
            if self.possible(dict(zip(self.labels, values, strict=True))):
                yield values


_LISTENER = {"listener": NAMED}
_NETWORK = {"network": NAMED}
_LEG = {"leg": _names(Leg)}
_CLIENT_MECHANISM = {"mechanism": _names(CLIENT_MECHANISMS)}
TABLE = (
    Metric("gatepost_conversations", Kind.COUNTER, "Client connections let in.", _LISTENER),
    Metric(
        "gatepost_conversations_active",
        Kind.GAUGE,
        "Client connections open now, by how far they have come.",
        _LISTENER | {"phase": tuple(phase.name.lower() for phase in Phase)},
    ),
    Metric("gatepost_conversations_limit", Kind.GAUGE, "Client connections that may be open at once."),
    Metric(
        "gatepost_conversations_ended",
        Kind.COUNTER,
        "Conversations by how they ended.",
        _LISTENER | {"ending": _names(Ending)},
    ),
    Metric("gatepost_conversation_duration_seconds", Kind.HISTOGRAM, "From connect to close.", _LISTENER, LONG),
    Metric("gatepost_accept_queue_length", Kind.GAUGE, "Connections that wait to be let in.", _LISTENER),
    Metric(
        "gatepost_connections_refused",
        Kind.COUNTER,
        "Connections turned away at the door.",
        _LISTENER | {"limit": _names(AT_THE_DOOR)},
    ),
    Metric(
        "gatepost_limits_hit",
        Kind.COUNTER,
        "Limits that were hit inside conversations.",
        _LISTENER | {"limit": _names(INSIDE)},
    ),
    Metric(
        "gatepost_violations",
        Kind.COUNTER,
        "Protocol breaches as attacks make them.",
        _LISTENER | {"violation": _names(Violation)},
    ),
    Metric(
        "gatepost_replies",
        Kind.COUNTER,
        "Replies to clients by the first digit of their code; counted when a conversation ends.",
        _LISTENER | {"class": REPLY_CLASSES},
    ),
    Metric(
        "gatepost_refusals",
        Kind.COUNTER,
        "Those replies by which gatepost itself refused something.",
        _LISTENER | {"refusal": _names(Refusal), "code": tuple(sorted({code_of(refusal) for refusal in Refusal}))},
        possible=_has_code,
    ),
    Metric(
        "gatepost_tls_handshakes",
        Kind.COUNTER,
        "TLS handshakes that succeeded.",
        _LISTENER | _LEG | {"version": TLS_VERSIONS, "cipher": _names(CipherClass), "resumed": ("false", "true")},
        possible=_has_cipher,
    ),
    Metric(
        "gatepost_tls_handshake_failures",
        Kind.COUNTER,
        "TLS handshakes that failed.",
        _LISTENER | _LEG | {"reason": _names(HandshakeFailure)},
        possible=_can_fail,
    ),
    Metric("gatepost_tls_handshake_duration_seconds", Kind.HISTOGRAM, "Of those that succeeded.", _LEG, FAST),
    Metric(
        "gatepost_auth_attempts",
        Kind.COUNTER,
        "AUTH attempts by what came of them.",
        _LISTENER | _CLIENT_MECHANISM | {"channel": _names(Channel), "result": _names(AuthResult)},
        possible=_crosses_channel,
    ),
    Metric(
        "gatepost_auth_credentials_exposed",
        Kind.COUNTER,
        "Credentials that a client sent over a clear channel all the same.",
        _LISTENER | _NETWORK | _CLIENT_MECHANISM,
    ),
    Metric(
        "gatepost_auth_attempts_by_network",
        Kind.COUNTER,
        "The same attempts by the client's network.",
        _NETWORK | {"result": _names(AuthResult)},
    ),
    Metric(
        "gatepost_auth_rewrites",
        Kind.COUNTER,
        "Logins presented to the upstream, by both mechanisms and what it answered.",
        {
            "client_mechanism": _names(SPOKEN_MECHANISMS),
            "upstream_mechanism": _names(UPSTREAM_MECHANISMS),
            "result": _names(PRESENTED),
        },
    ),
    Metric(
        "gatepost_auth_duration_seconds",
        Kind.HISTOGRAM,
        "Of an exchange not relayed: client, from AUTH to its last response; upstream, from its begin to its verdict.",
        _LEG | {"mechanism": _names(Mechanism)},
        FAST,
        _is_spoken,
    ),
    Metric(
        "gatepost_policy_decisions",
        Kind.COUNTER,
        "Logins that a minimum of the policies applied to.",
        _LISTENER | {"minimum": _names(SPOKEN_MECHANISMS), "decision": ("allowed", "refused")},
    ),
    Metric(
        "gatepost_backend_requests",
        Kind.COUNTER,
        "Questions to backends by how they went.",
        {"backend": _names(Backend), "result": _names(BackendResult)},
    ),
    Metric(
        "gatepost_backend_duration_seconds",
        Kind.HISTOGRAM,
        "Of those not answered from memory.",
        {"backend": _names(Backend)},
        FAST,
    ),
    Metric("gatepost_users", Kind.GAUGE, "Users in the users file that is in use."),
    Metric("gatepost_users_last_reload_successful", Kind.GAUGE, "0 while the users file has changed and was refused."),
    Metric(
        "gatepost_messages",
        Kind.COUNTER,
        "Messages by what came of them.",
        _LISTENER | {"result": _names(MessageResult)},
    ),
    Metric("gatepost_message_body_bytes", Kind.COUNTER, "Octets of accepted messages.", _LISTENER),
    Metric("gatepost_message_recipients", Kind.COUNTER, "Recipients of accepted messages.", _LISTENER),
    Metric(
        "gatepost_message_accept_duration_seconds",
        Kind.HISTOGRAM,
        "From the end of a message to the upstream's reply, of accepted ones.",
        {},
        FAST,
    ),
    Metric("gatepost_upstream_up", Kind.GAUGE, "1 when the last probe of the upstream was answered well."),
    Metric(
        "gatepost_upstream_relays", Kind.GAUGE, "1 when the upstream would relay for strangers that come from here."
    ),
    Metric(
        "gatepost_upstream_failures",
        Kind.COUNTER,
        "Upstream legs that could not be used.",
        _LISTENER | {"reason": _names(UpstreamFailure)},
    ),
    Metric("gatepost_upstream_connect_duration_seconds", Kind.HISTOGRAM, "From dialling to its first octet.", {}, FAST),
    Metric("gatepost_upstream_probe_duration_seconds", Kind.GAUGE, "How long the last probe took."),
    Metric(
        "gatepost_certificate_not_after_timestamp_seconds",
        Kind.GAUGE,
        "When a certificate in use expires, in seconds since the epoch; the upstream's own has no file.",
        {"leg": OPEN, "file": OPEN, "name": OPEN},
    ),
    Metric(
        "gatepost_certificate_last_reload_successful",
        Kind.GAUGE,
        "0 while certificate files have changed and were refused.",
    ),
    Metric("gatepost_settings_last_reload_successful", Kind.GAUGE, "0 while changed settings were refused."),
    Metric("gatepost_event_loop_lag_seconds", Kind.HISTOGRAM, "How late a timer of gatepost's own was.", {}, FAST),
    Metric("gatepost_log_events_lost", Kind.COUNTER, "Log events lost because nobody read them."),
    Metric("gatepost_crashes", Kind.COUNTER, "Conversations that a bug in gatepost ended.", _LISTENER),
)
BY_NAME = {metric.name: metric for metric in TABLE}
