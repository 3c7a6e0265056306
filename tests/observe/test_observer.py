"""Facts move exactly the series and write exactly the events that belong to them."""

import io
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gatepost import facts as f
from gatepost.observe import logs
from gatepost.observe.metrics import PRESENTED, SPOKEN_MECHANISMS, UPSTREAM_MECHANISMS, Metrics
from gatepost.observe.observer import ConversationRecorder, Observer
from gatepost.settings import LogFormat, LogLevel

TLS = f.Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", resumed=True)
PEER = f.Peer("192.0.2.7", 4711, loopback=False)
LISTENER = {"listener": "submission"}


class Watched:
    """An observer, its metrics, and what it logged."""

    def __init__(self, level: LogLevel = LogLevel.DEBUG) -> None:
        self.metrics = Metrics(("submission", "mx"))
        self.stream = io.StringIO()
        self.observer = Observer(self.metrics, logs.configure(LogFormat.JSON, level, self.stream), ("submission", "mx"))
        self.before = self.values()

    def values(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.metrics.exposition("")[1].decode())
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith("gatepost_") and not sample.name.endswith(("_sum", "_bucket"))
        }

    def moved(self) -> dict[str, float]:
        """What changed since it was asked last, by how much."""
        before, self.before = self.before, self.values()
        return {name: value - before.get(name, 0) for name, value in self.before.items() if value != before.get(name)}

    def conversation(self) -> ConversationRecorder:
        recorder = self.observer.conversation("submission", PEER)
        self.moved()
        return recorder

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def series(name: str, /, **labels: str) -> str:
    return f"{name}{sorted(labels.items())}"


AUTH = {"mechanism": "PLAIN"}
MOVES: list[tuple[f.Fact, dict[str, float]]] = [
    (
        f.HandshakeDone(f.Leg.CLIENT, TLS, 0.002),
        {
            series("gatepost_tls_handshakes_total", **LISTENER, leg="client", version="TLSv1.3"): 1,
            series("gatepost_tls_handshakes_resumed_total", **LISTENER, leg="client"): 1,
            series("gatepost_tls_handshake_duration_seconds_count", leg="client"): 1,
        },
    ),
    (
        f.HandshakeFailed(f.Leg.CLIENT, f.HandshakeFailure.NOT_TLS),
        {series("gatepost_tls_handshake_failures_total", **LISTENER, leg="client", reason="not_tls"): 1},
    ),
    (f.UpstreamConnected(0.01), {series("gatepost_upstream_connect_duration_seconds_count"): 1}),
    (
        f.UpstreamFailed(f.UpstreamFailure.TIMED_OUT),
        {series("gatepost_upstream_failures_total", **LISTENER, reason="timed_out"): 1},
    ),
    (f.AuthBegan(f.Mechanism.PLAIN), {}),
    (
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.TLS, f.AuthResult.REJECTED, "berta"),
        {
            series("gatepost_auth_attempts_total", **LISTENER, **AUTH, result="rejected"): 1,
            series("gatepost_auth_duration_seconds_count", **AUTH): 1,
        },
    ),
    (
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.CLEAR, f.AuthResult.CLEAR_REFUSED),
        {
            series("gatepost_auth_attempts_total", **LISTENER, **AUTH, result="clear_refused"): 1,
            series("gatepost_auth_clear_refused_total", **LISTENER, **AUTH): 1,
        },
    ),
    (
        f.CredentialsExposed(f.Mechanism.PLAIN),
        {series("gatepost_auth_credentials_exposed_total", **LISTENER, **AUTH): 1},
    ),
    (
        f.AuthRewritten(f.Mechanism.PLAIN, f.Mechanism.LOGIN, f.AuthResult.ACCEPTED),
        {
            series(
                "gatepost_auth_rewrites_total", client_mechanism="PLAIN", upstream_mechanism="LOGIN", result="accepted"
            ): 1
        },
    ),
    (
        f.Refused(f.Refusal.TLS_REQUIRED),
        {series("gatepost_refusals_total", **LISTENER, refusal="tls_required"): 1},
    ),
    (f.Violated(f.Violation.HTTP), {series("gatepost_violations_total", **LISTENER, violation="http"): 1}),
    (f.LimitHit(f.Limit.ERRORS), {series("gatepost_limits_hit_total", **LISTENER, limit="errors"): 1}),
    (
        f.MessageEnded(f.MessageResult.ACCEPTED, 4096, 3),
        {
            series("gatepost_messages_total", **LISTENER, result="accepted"): 1,
            series("gatepost_message_body_bytes_total", **LISTENER): 4096,
            series("gatepost_message_recipients_total", **LISTENER): 3,
        },
    ),
    (
        f.MessageEnded(f.MessageResult.ABORTED, 4096, 3),
        {series("gatepost_messages_total", **LISTENER, result="aborted"): 1},
    ),
    (f.Crashed("ValueError", ("a.py:1 b",)), {series("gatepost_crashes_total", **LISTENER): 1}),
    (
        f.ConversationEnded(f.Summary(ending=f.Ending.QUIT)),
        {
            series("gatepost_conversations_active", **LISTENER): -1,
            series("gatepost_conversations_ended_total", **LISTENER, ending="quit"): 1,
            series("gatepost_conversation_duration_seconds_count", **LISTENER): 1,
        },
    ),
]


@pytest.mark.parametrize(("fact", "moves"), MOVES, ids=lambda value: type(value).__name__)
def test_a_fact_moves_its_series_and_no_other(fact: f.Fact, moves: dict[str, float]) -> None:
    watched = Watched()
    recorder = watched.conversation()
    recorder.record(fact)
    assert watched.moved() == moves


def test_every_kind_of_fact_is_among_them() -> None:
    assert {type(fact) for fact, _ in MOVES} == set(f.Fact.__args__)


def test_a_conversation_is_active_until_it_has_ended() -> None:
    watched = Watched()
    watched.observer.conversation("mx", PEER)
    moved = watched.moved()
    assert moved == {
        series("gatepost_conversations_total", listener="mx"): 1,
        series("gatepost_conversations_active", listener="mx"): 1,
    }


def test_the_canonical_event_carries_what_is_known() -> None:
    watched = Watched()
    summary = f.Summary(
        channel=f.Channel.TLS,
        tls=TLS,
        hello="laptop.example",
        mechanism=f.Mechanism.LOGIN,
        upstream_mechanism=f.Mechanism.PLAIN,
        user="berta",
        messages_accepted=2,
        recipients=3,
        body_bytes=9000,
        violations={f.Violation.LONE_NEWLINE},
        ending=f.Ending.QUIT,
    )
    watched.conversation().record(f.ConversationEnded(summary))
    (event,) = watched.events()
    assert event["event"] == "conversation"
    assert len(event["conversation.id"]) == 16
    expected = {
        "client.address": "192.0.2.7",
        "client.port": 4711,
        "gatepost.listener": "submission",
        "gatepost.ending": "quit",
        "smtp.hello": "laptop.example",
        "tls.protocol.version": "TLSv1.3",
        "tls.resumed": True,
        "user.name": "berta",
        "gatepost.auth.mechanism": "LOGIN",
        "gatepost.upstream.auth.mechanism": "PLAIN",
        "gatepost.messages.accepted": 2,
        "gatepost.recipients": 3,
        "gatepost.body.size": 9000,
        "gatepost.violations": ["lone_newline"],
    }
    assert {key: event.get(key) for key in expected} == expected


def test_conversations_have_ids_of_their_own() -> None:
    watched = Watched()
    for _ in range(3):
        watched.conversation().record(f.ConversationEnded(f.Summary()))
    assert len({event["conversation.id"] for event in watched.events()}) == 3


def test_a_login_name_from_a_clear_channel_is_never_logged() -> None:
    watched = Watched()
    watched.conversation().record(
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.CLEAR, f.AuthResult.CLEAR_REFUSED, "somebody")
    )
    (event,) = watched.events()
    assert event["level"] == "warning"
    assert "somebody" not in watched.stream.getvalue()


def test_the_upstream_is_logged_when_it_changes_and_not_with_every_probe() -> None:
    watched = Watched()
    down = f.UpstreamProbed(f.UpstreamFailure.UNREACHABLE, 0.1)
    for fact in (f.UpstreamProbed(None, 0.1), f.UpstreamProbed(None, 0.1), down, down, f.UpstreamProbed(None, 0.1)):
        watched.observer.record(fact)
    assert [event["event"] for event in watched.events()] == ["upstream up", "upstream down", "upstream up"]


def test_facts_of_the_process_are_counted_and_logged() -> None:
    watched = Watched()
    watched.observer.record(f.CertificateLoaded("cert.pem", "mx.example", 2_000_000_000.0))
    watched.observer.record(f.CertificateLoaded("cert.pem", "new.example", 2_000_000_000.0))
    watched.observer.record(f.CertificatesRefused("no key"))
    watched.observer.record(f.ConnectionRefused("mx", f.Limit.CONVERSATIONS))
    watched.observer.record(f.Started(("mx 127.0.0.1:25",), 100))
    watched.observer.record(f.DrainBegan(3))
    watched.observer.record(f.Stopped(1))
    assert watched.moved() == {
        series("gatepost_certificate_not_after_timestamp_seconds", file="cert.pem", name="new.example"): 2e9,
        series("gatepost_certificate_reload_failures_total"): 1,
        series("gatepost_connections_refused_total", listener="mx", limit="conversations"): 1,
    }
    names = [event["event"] for event in watched.events()]
    assert names == [
        "certificate loaded",
        "certificate loaded",
        "certificates refused",
        "started",
        "draining",
        "stopped",
    ]


def test_backends_are_counted_and_their_trouble_is_logged() -> None:
    watched = Watched()
    watched.observer.record(f.UsersLoaded("users.toml", 7))
    watched.observer.record(f.UsersRefused("not TOML"))
    watched.observer.record(f.BackendAsked(f.Backend.TOKENS, f.BackendResult.CACHED, 0.0))
    watched.observer.record(f.BackendAsked(f.Backend.TOKENS, f.BackendResult.ANSWERED, 0.25))
    watched.observer.record(f.BackendAsked(f.Backend.KEYS, f.BackendResult.TIMED_OUT, 10.0))
    requests, seconds = "gatepost_backend_requests_total", "gatepost_backend_duration_seconds_count"
    assert watched.moved() == {
        series("gatepost_users"): 7,
        series("gatepost_users_reload_failures_total"): 1,
        series(requests, backend="tokens", result="cached"): 1,
        series(requests, backend="tokens", result="answered"): 1,
        series(requests, backend="keys", result="timed_out"): 1,
        series(seconds, backend="tokens"): 1,
        series(seconds, backend="keys"): 1,
    }
    loaded, refused, failed = watched.events()
    assert (loaded["event"], loaded["file.name"], loaded["gatepost.users"]) == ("users loaded", "users.toml", 7)
    assert (refused["event"], refused["level"], refused["error.message"]) == ("users refused", "error", "not TOML")
    assert (failed["event"], failed["level"]) == ("backend failed", "warning")
    assert (failed["gatepost.backend"], failed["error.type"]) == ("keys", "timed_out")
    assert failed["gatepost.duration"] == 10.0


def test_an_attempt_names_both_mechanisms() -> None:
    watched = Watched()
    scram = f.Mechanism.SCRAM_SHA_256
    watched.conversation().record(f.AuthEnded(f.Mechanism.PLAIN, f.Channel.TLS, f.AuthResult.ACCEPTED, "bob", scram))
    (event,) = watched.events()
    assert event["gatepost.auth.mechanism"] == "PLAIN"
    assert event["gatepost.upstream.auth.mechanism"] == "SCRAM-SHA-256"


def test_every_rewrite_that_can_happen_has_its_series() -> None:
    """Whatever the plan can choose, with whatever a presented login can end."""
    watched = Watched()
    recorder = watched.conversation()
    for client in SPOKEN_MECHANISMS:
        for upstream in UPSTREAM_MECHANISMS:
            for result in PRESENTED:
                recorder.record(f.AuthRewritten(client, upstream, result))
    assert set(watched.moved().values()) == {1}


def test_events_below_the_level_are_not_written() -> None:
    watched = Watched(LogLevel.ERROR)
    recorder = watched.conversation()
    for fact, _ in MOVES:
        recorder.record(fact)
    assert [event["event"] for event in watched.events()] == ["crashed"]
