"""Facts move exactly the series and write exactly the events that belong to them."""

import hmac
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from gatepost import facts as f
from gatepost.observe import logs
from gatepost.observe.events import EVENTS, FIELDS
from gatepost.observe.observer import BATCH_SECONDS, REMEMBERED_REFUSALS, Observer
from gatepost.observe.recorder import ConversationRecorder
from gatepost.observe.status import gather
from gatepost.observe.table import PRESENTED, SPOKEN_MECHANISMS, UPSTREAM_MECHANISMS
from gatepost.settings import LogFormat, LogLevel, LogLogins, LogSettings
from observe.settings_made import settings_with

TLS = f.Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", resumed=True)
PEER = f.Peer("192.0.2.7", 4711, loopback=False)
LISTENER = {"listener": "submission"}


class Watched:
    """An observer, its metrics, and what it logged."""

    def __init__(self, level: LogLevel = LogLevel.DEBUG, **more: Any) -> None:  # noqa: ANN401  keys of [log]
        self.stream = io.StringIO()
        log = LogSettings(format=LogFormat.JSON, level=level, **more)
        self.observer = Observer(settings_with("submission", "mx", log=log), logs.configure(log, self.stream))
        self.before = self.values()

    def values(self) -> dict[str, float]:
        self.observer.tell()
        text = b"".join(self.observer.metrics.exposition("")[1]).decode()
        families = text_string_to_metric_families(text)
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
        self.observer.finish()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def series(name: str, /, **labels: str) -> str:
    return f"{name}{sorted(labels.items())}"


AUTH = {"mechanism": "PLAIN"}
MOVES: list[tuple[f.Fact, dict[str, float]]] = [
    (
        f.HandshakeDone(f.Leg.CLIENT, TLS, 0.002),
        {
            series(
                "gatepost_tls_handshakes_total",
                **LISTENER,
                leg="client",
                version="TLSv1.3",
                cipher="aead",
                resumed="true",
            ): 1,
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
        f.AuthHeard(f.Mechanism.PLAIN),
        {series("gatepost_auth_duration_seconds_count", leg="client", mechanism="PLAIN"): 1},
    ),
    (f.AuthPresented(), {}),
    (
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.TLS, f.AuthResult.REJECTED, "berta"),
        {
            series("gatepost_auth_attempts_total", **LISTENER, **AUTH, channel="tls", result="rejected"): 1,
            series("gatepost_auth_attempts_by_network_total", network="private", result="rejected"): 1,
        },
    ),
    (
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.CLEAR, f.AuthResult.CLEAR_REFUSED),
        {
            series("gatepost_auth_attempts_total", **LISTENER, **AUTH, channel="clear", result="clear_refused"): 1,
            series("gatepost_auth_attempts_by_network_total", network="private", result="clear_refused"): 1,
        },
    ),
    (
        f.AuthEnded(f.Mechanism.PLAIN, f.Channel.CLEAR, f.AuthResult.CLEAR_REFUSED, "berta", exposed=True),
        {
            series("gatepost_auth_attempts_total", **LISTENER, **AUTH, channel="clear", result="clear_refused"): 1,
            series("gatepost_auth_attempts_by_network_total", network="private", result="clear_refused"): 1,
            series("gatepost_auth_credentials_exposed_total", **LISTENER, **AUTH, network="private"): 1,
        },
    ),
    (
        f.PolicyDecided(f.Mechanism.SCRAM_SHA_256, refused=True),
        {series("gatepost_policy_decisions_total", **LISTENER, minimum="SCRAM-SHA-256", decision="refused"): 1},
    ),
    (
        f.AuthRewritten(f.Mechanism.PLAIN, f.Mechanism.LOGIN, f.AuthResult.ACCEPTED),
        {
            series(
                "gatepost_auth_rewrites_total", client_mechanism="PLAIN", upstream_mechanism="LOGIN", result="accepted"
            ): 1,
        },
    ),
    (
        f.Refused(f.Refusal.TLS_REQUIRED),
        {series("gatepost_refusals_total", **LISTENER, refusal="tls_required", code="530"): 1},
    ),
    (f.Violated(f.Violation.HTTP), {series("gatepost_violations_total", **LISTENER, violation="http"): 1}),
    (f.LimitHit(f.Limit.ERRORS), {series("gatepost_limits_hit_total", **LISTENER, limit="errors"): 1}),
    (f.MessageSent(), {}),
    (
        f.MessageEnded(f.MessageResult.ACCEPTED, 4096, 3),
        {
            series("gatepost_message_accept_duration_seconds_count"): 1,
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
        f.ConversationEnded(f.Summary(ending=f.Ending.QUIT, replies=[4, 1, 0, 2])),
        {
            series("gatepost_replies_total", **LISTENER, **{"class": "2xx"}): 4,
            series("gatepost_replies_total", **LISTENER, **{"class": "3xx"}): 1,
            series("gatepost_replies_total", **LISTENER, **{"class": "5xx"}): 2,
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


def sums(watched: Watched, name: str) -> dict[str, float]:
    text = b"".join(watched.observer.metrics.exposition("")[1]).decode()
    return {
        "".join(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{name}_sum" and sample.value
    }


def test_each_leg_is_timed_apart() -> None:
    watched = Watched()
    recorder = watched.observer.conversation("mx", PEER)
    accepted = f.AuthResult.ACCEPTED
    plain, login = f.Mechanism.PLAIN, f.Mechanism.LOGIN
    for now, fact in (
        (10.0, f.AuthBegan(plain)),
        (12.0, f.AuthHeard(plain)),
        (15.0, f.AuthPresented()),
        (15.5, f.AuthRewritten(plain, login, accepted)),
        (15.5, f.AuthEnded(plain, f.Channel.TLS, accepted, "bob", login)),
        (20.0, f.MessageSent()),
        (20.25, f.MessageEnded(f.MessageResult.ACCEPTED, 1, 1)),
    ):
        recorder.tell(fact, now)
    assert sums(watched, "gatepost_auth_duration_seconds") == {"PLAINclient": 2.0, "LOGINupstream": 0.5}
    assert sums(watched, "gatepost_message_accept_duration_seconds") == {"": 0.25}


def test_an_exchange_that_is_relayed_is_timed_on_neither_leg() -> None:
    """Each waits for the other in it."""
    watched = Watched()
    recorder = watched.observer.conversation("mx", PEER)
    cram = f.Mechanism.CRAM_MD5
    for now, fact in (
        (10.0, f.AuthBegan(cram)),
        (10.0, f.AuthPresented()),
        (15.5, f.AuthRewritten(cram, cram, f.AuthResult.ACCEPTED)),
    ):
        recorder.tell(fact, now)
    assert sums(watched, "gatepost_auth_duration_seconds") == {}


def test_a_burst_waits_for_whoever_reads_the_log_and_is_not_lost(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as pipe:  # noqa: PTH123  they are descriptors
        log = LogSettings(format=LogFormat.JSON)
        observer = Observer(settings_with("mx", log=log), logs.configure(log, pipe))
        for _ in range(2000):  # a pipe holds 64 KiB
            observer.conversation("mx", PEER).record(f.Violated(f.Violation.HTTP))
        observer.tell()

        def end() -> None:
            observer.finish()
            pipe.close()

        thread = threading.Thread(target=end)
        thread.start()
        lines = reader.read().splitlines()
        thread.join()
    assert len(lines) == 2000
    assert {json.loads(line)["event"] for line in lines} == {"violation"}


def test_what_nobody_reads_is_lost_in_the_end_and_counted() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w") as pipe:  # noqa: PTH123  as above
        log = LogSettings(format=LogFormat.JSON)
        observer = Observer(settings_with("mx", log=log), logs.configure(log, pipe))
        recorder = observer.conversation("mx", PEER)
        for _ in range(30_000):
            recorder.record(f.Violated(f.Violation.HTTP))
        observer.record(f.Measured({}, {}))
        observer.tell()
        assert observer.metrics.values("gatepost_log_events_lost")[()] > 0


def test_the_expiry_of_an_upstream_that_shows_no_certificate_any_more_is_forgotten() -> None:
    watched = Watched()
    own = f.CertificateLoaded(f.Leg.UPSTREAM, "", ("legacy.example",), 2e9)
    watched.observer.record(f.UpstreamProbed(None, 0.1, own))
    watched.observer.record(f.UpstreamProbed(f.UpstreamFailure.CLOSED, 0.1))
    expiry = "gatepost_certificate_not_after_timestamp_seconds"
    watched.observer.tell()
    assert watched.observer.metrics.values(expiry) == {("upstream", "", "legacy.example"): 2e9}
    watched.observer.record(f.UpstreamProbed(None, 0.1))
    watched.observer.tell()
    assert watched.observer.metrics.values(expiry) == {}


def test_another_reason_why_the_upstream_is_down_is_news() -> None:
    watched = Watched()
    for failure in (f.UpstreamFailure.UNREACHABLE, f.UpstreamFailure.TLS_FAILED, f.UpstreamFailure.TLS_FAILED):
        watched.observer.record(f.UpstreamProbed(failure, 0.1))
    assert [event["error.type"] for event in watched.events()] == ["unreachable", "tls_failed"]


def test_every_kind_of_fact_is_among_them() -> None:
    assert {type(fact) for fact, _ in MOVES} == set(f.Fact.__args__)


def test_a_conversation_is_counted_when_it_begins() -> None:
    watched = Watched()
    watched.observer.conversation("mx", PEER)
    assert watched.moved() == {series("gatepost_conversations_total", listener="mx"): 1}


def test_who_stands_where_is_what_was_measured_last() -> None:
    watched = Watched()
    active, queue = "gatepost_conversations_active", "gatepost_accept_queue_length"
    watched.observer.record(f.Measured({("mx", "clear_ready"): 3, ("submission", "tls_fresh"): 1}, {"mx": 2}))
    assert watched.moved() == {
        series(active, listener="mx", phase="clear_ready"): 3,
        series(active, listener="submission", phase="tls_fresh"): 1,
        series(queue, listener="mx"): 2,
    }
    watched.observer.record(f.Measured({("mx", "clear_ready"): 1}, {"mx": 0}))
    assert watched.moved() == {
        series(active, listener="mx", phase="clear_ready"): -2,
        series(active, listener="submission", phase="tls_fresh"): -1,
        series(queue, listener="mx"): -2,
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
        "tls.protocol.version": "1.3",
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


CLEAR = f.AuthEnded(f.Mechanism.PLAIN, f.Channel.CLEAR, f.AuthResult.CLEAR_REFUSED, "Somebody", exposed=True)
OVER_TLS = f.AuthEnded(f.Mechanism.PLAIN, f.Channel.TLS, f.AuthResult.REJECTED, "somebody")


def test_a_login_name_from_a_clear_channel_is_hashed_unless_it_is_set_otherwise() -> None:
    watched = Watched()
    watched.conversation().record(CLEAR)
    (event,) = watched.events()
    assert event["level"] == "warning"
    assert event["gatepost.auth.exposed"] is True
    assert len(event["user.hash"]) == 16
    assert "user.name" not in event
    assert "somebody" not in watched.stream.getvalue().lower()


@pytest.mark.parametrize(
    ("way", "fields"),
    [(LogLogins.PLAIN, {"user.name": "Somebody"}), (LogLogins.NONE, {})],
)
def test_a_setting_says_how_names_from_a_clear_channel_are_written(way: LogLogins, fields: dict[str, str]) -> None:
    watched = Watched(clear_logins=way)
    watched.conversation().record(CLEAR)
    (event,) = watched.events()
    assert {name: value for name, value in event.items() if name.startswith("user.")} == fields


def test_names_that_came_over_tls_are_written_by_a_setting_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"a key of some length\n")
    hashes = []
    for fact in (CLEAR, OVER_TLS):
        watched = Watched(logins=LogLogins.HASHED, hash_key_file=tmp_path / "key")
        watched.conversation().record(fact)
        (event,) = watched.events()
        hashes.append(event["user.hash"])
    digest = hmac.new(b"a key of some length", b"somebody", "sha256").hexdigest()
    assert hashes == [digest[:16]] * 2
    plain = Watched()
    plain.conversation().record(OVER_TLS)
    assert plain.events()[0]["user.name"] == "somebody"


def test_without_a_key_of_the_operators_hashes_of_two_starts_differ() -> None:
    found = []
    for _ in range(2):
        watched = Watched()
        watched.conversation().record(CLEAR)
        found.append(watched.events()[0]["user.hash"])
    assert found[0] != found[1]


def test_who_says_nothing_is_not_worth_an_event_of_the_usual_level() -> None:
    silent = Watched(LogLevel.INFO)
    recorder = silent.conversation()
    recorder.record(f.HandshakeFailed(f.Leg.CLIENT, f.HandshakeFailure.NO_HELLO))
    recorder.record(f.ConversationEnded(f.Summary(ending=f.Ending.HANDSHAKE_FAILED)))
    assert silent.events() == []
    failed = Watched(LogLevel.INFO)
    recorder = failed.conversation()
    recorder.record(f.HandshakeFailed(f.Leg.CLIENT, f.HandshakeFailure.NOT_TLS))
    recorder.record(f.ConversationEnded(f.Summary(ending=f.Ending.HANDSHAKE_FAILED)))
    assert [event["event"] for event in failed.events()] == ["handshake failed", "conversation"]


def test_an_exemplar_leads_from_a_count_to_the_log() -> None:
    watched = Watched()
    watched.conversation().record(OVER_TLS)
    (event,) = watched.events()
    text = b"".join(watched.observer.metrics.exposition("application/openmetrics-text; version=1.0.0")[1]).decode()
    (line,) = [line for line in text.splitlines() if "conversation_id" in line]
    assert line.startswith("gatepost_auth_attempts_total{")
    assert f'# {{conversation_id="{event["conversation.id"]}"}} 1.0 ' in line


def test_the_last_refusals_are_kept_newest_first_and_not_more_than_a_few() -> None:
    watched = Watched()
    watched.observer.record(f.ConnectionRefused("mx", f.Limit.CONVERSATIONS, "198.51.100.1"))
    recorder = watched.conversation()
    for fact in (CLEAR, f.Violated(f.Violation.HTTP), f.LimitHit(f.Limit.ERRORS)):
        recorder.record(fact)
    watched.observer.tell()
    kept = [(row.address, row.listener, row.reason) for row in watched.observer.refusals]
    assert kept == [
        ("192.0.2.7", "submission", "limit: errors"),
        ("192.0.2.7", "submission", "violation: http"),
        ("192.0.2.7", "submission", "PLAIN: clear_refused"),
        ("198.51.100.1", "mx", "limit: conversations"),
    ]
    for _ in range(2 * REMEMBERED_REFUSALS):
        recorder.record(CLEAR)
    watched.observer.tell()
    assert len(watched.observer.refusals) == REMEMBERED_REFUSALS


def test_the_upstream_is_logged_when_it_changes_and_not_with_every_probe() -> None:
    watched = Watched()
    down = f.UpstreamProbed(f.UpstreamFailure.UNREACHABLE, 0.1)
    for fact in (f.UpstreamProbed(None, 0.1), f.UpstreamProbed(None, 0.1), down, down, f.UpstreamProbed(None, 0.1)):
        watched.observer.record(fact)
    assert [event["event"] for event in watched.events()] == ["upstream up", "upstream down", "upstream up"]


def test_facts_of_the_process_are_counted_and_logged() -> None:
    expiry = "gatepost_certificate_not_after_timestamp_seconds"
    watched = Watched()
    watched.observer.record(f.CertificateLoaded(f.Leg.CLIENT, "cert.pem", ("mx.example", "old.example"), 2e9))
    watched.observer.record(f.CertificateLoaded(f.Leg.CLIENT, "cert.pem", ("mx.example", "new.example"), 2e9))
    watched.observer.record(f.CertificatesRefused("no key"))
    watched.observer.record(f.ConnectionRefused("mx", f.Limit.CONVERSATIONS))
    watched.observer.record(f.Started(("mx 127.0.0.1:25",), 100))
    watched.observer.record(f.TimerLate(0.001))
    watched.observer.record(f.DrainBegan(3))
    watched.observer.record(f.Stopped(1))
    assert watched.moved() == {
        series(expiry, leg="client", file="cert.pem", name="mx.example"): 2e9,
        series(expiry, leg="client", file="cert.pem", name="new.example"): 2e9,
        series("gatepost_conversations_limit"): 100,
        series("gatepost_event_loop_lag_seconds_count"): 1,
        series("gatepost_certificate_last_reload_successful"): -1,
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
        series("gatepost_users_last_reload_successful"): -1,
        series(requests, backend="tokens", result="cached"): 1,
        series(requests, backend="tokens", result="answered"): 1,
        series(requests, backend="keys", result="timed_out"): 1,
        series(seconds, backend="tokens"): 1,
        series(seconds, backend="keys"): 1,
    }
    loaded, refused, failed = watched.events()
    assert (loaded["event"], loaded["file.path"], loaded["gatepost.users"]) == ("users loaded", "users.toml", 7)
    assert (refused["event"], refused["level"], refused["gatepost.error.message"]) == (
        "users refused",
        "error",
        "not TOML",
    )
    assert (failed["event"], failed["level"]) == ("backend failed", "warning")
    assert (failed["gatepost.backend"], failed["error.type"]) == ("keys", "timed_out")
    assert failed["gatepost.duration"] == 10.0


def test_an_observe_address_that_others_reach_is_warned_of() -> None:
    watched = Watched()
    watched.observer.record(f.Started((), 100, "0.0.0.0:9587", exposed=True))
    started, warned = watched.events()
    assert (started["event"], started["gatepost.observe"]) == ("started", "0.0.0.0:9587")
    assert (warned["event"], warned["level"]) == ("observed from elsewhere", "warning")


def test_the_upstreams_own_certificate_is_watched_with_the_probe() -> None:
    watched = Watched()
    own = f.CertificateLoaded(f.Leg.UPSTREAM, "", ("legacy.example",), 2e9)
    watched.observer.record(f.UpstreamProbed(None, 0.1, own))
    expiry = series("gatepost_certificate_not_after_timestamp_seconds", leg="upstream", file="", name="legacy.example")
    assert watched.moved()[expiry] == 2e9
    assert [event["event"] for event in watched.events()] == ["upstream up"]


def test_settings_that_were_refused_show_until_others_are_taken() -> None:
    watched = Watched()
    taken = series("gatepost_settings_last_reload_successful")
    watched.observer.record(f.SettingsRefused("upstream.tls: found nothing"))
    assert watched.moved() == {taken: -1}
    watched.observer.record(f.SettingsLoaded(7))
    assert watched.moved() == {taken: 1, series("gatepost_conversations_limit"): 7}
    refused, loaded = watched.events()
    assert (refused["event"], refused["level"]) == ("settings refused", "error")
    assert refused["gatepost.error.message"] == "upstream.tls: found nothing"
    assert (loaded["event"], loaded["gatepost.conversations.limit"]) == ("settings loaded", 7)


def test_an_upstream_that_relays_is_warned_of_once_and_stays_in_the_metrics() -> None:
    watched = Watched()
    for relays in (False, True, True):
        watched.observer.record(f.RelayChecked(relays))
    assert watched.moved() == {series("gatepost_upstream_relays"): 1}
    told = [(event["event"], event["level"]) for event in watched.events()]
    assert told == [("upstream does not relay", "info"), ("upstream relays", "warning")]


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
    rewrites = {name: moved for name, moved in watched.moved().items() if name.startswith("gatepost_auth_rewrites")}
    assert set(rewrites.values()) == {1}
    assert len(rewrites) == len(SPOKEN_MECHANISMS) * len(UPSTREAM_MECHANISMS) * len(PRESENTED)


def test_events_below_the_level_are_not_written() -> None:
    watched = Watched(LogLevel.ERROR)
    recorder = watched.conversation()
    for fact, _ in MOVES:
        recorder.record(fact)
    assert [event["event"] for event in watched.events()] == ["crashed"]


class Unheard:
    """No fact that anybody knows."""


def test_a_bug_in_counting_is_logged_and_ends_nothing() -> None:
    watched = Watched()
    watched.observer.record(Unheard())  # type: ignore[arg-type]  # that is what is wrong with it
    watched.observer.record(f.Stopped(0))
    failed, stopped = watched.events()
    assert (failed["event"], failed["level"], failed["error.type"]) == ("observation failed", "error", "KeyError")
    assert stopped["event"] == "stopped"


async def test_facts_are_told_a_little_later_and_in_their_order(autojump_clock: trio.testing.MockClock) -> None:
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.observer.keep_telling)
        for turn in range(3):
            recorder = watched.observer.conversation("mx", PEER)
            recorder.record(f.Violated(f.Violation.HTTP))
            watched.observer.record(f.Stopped(turn))
            before = len(watched.stream.getvalue())
            await trio.sleep(3 * BATCH_SECONDS)
            assert len(watched.stream.getvalue()) > before
        nursery.cancel_scope.cancel()
    assert [event["event"] for event in watched.events()] == ["violation", "stopped"] * 3


async def test_telling_when_there_is_nothing_makes_nobody_deaf(autojump_clock: trio.testing.MockClock) -> None:
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.observer.keep_telling)
        await trio.testing.wait_all_tasks_blocked()
        watched.observer.tell()
        watched.observer.record(f.Stopped(0))
        await trio.sleep(3 * BATCH_SECONDS)
        assert "stopped" in watched.stream.getvalue()
        nursery.cancel_scope.cancel()


def test_the_status_page_has_the_limit_that_holds_now() -> None:
    watched = Watched()
    watched.observer.record(f.Started((), 100))
    watched.observer.record(f.SettingsLoaded(7))
    watched.observer.tell()
    assert gather(watched.observer, "127.0.0.1:25", 0.0).limit == 7


def everything() -> Watched:
    """All that can be logged was."""
    watched = Watched()
    recorder = watched.conversation()
    for fact, _ in MOVES:
        recorder.record(fact)
    recorder.record(f.AuthEnded(f.Mechanism.PLAIN, f.Channel.TLS, f.AuthResult.ACCEPTED, "bob", f.Mechanism.LOGIN))
    recorder.record(
        f.ConversationEnded(
            f.Summary(
                tls=TLS,
                hello="laptop.example",
                mechanism=f.Mechanism.LOGIN,
                upstream_mechanism=f.Mechanism.PLAIN,
                user="berta",
                upstream_tls=TLS,
                upstream_failure=f.UpstreamFailure.CLOSED,
                auth_failures=1,
                exposed=True,
                messages_accepted=1,
                messages_refused=1,
                refusals={f.Refusal.SYNTAX: 2},
                violations={f.Violation.HTTP},
            )
        )
    )
    hashed = Watched(logins=LogLogins.HASHED)
    hashed.conversation().record(f.ConversationEnded(f.Summary(tls=TLS, mechanism=f.Mechanism.LOGIN, user="berta")))
    hashed.observer.finish()
    watched.stream.write(hashed.stream.getvalue())
    for process_fact in (
        f.UpstreamProbed(None, 0.1),
        f.RelayChecked(relays=False),
        f.RelayChecked(relays=True),
        f.UpstreamProbed(f.UpstreamFailure.CLOSED, 0.1),
        f.CertificateLoaded(f.Leg.CLIENT, "cert.pem", ("mx.example",), 2e9),
        f.CertificatesRefused("no key"),
        f.UsersLoaded("users.toml", 7),
        f.UsersRefused("not TOML"),
        f.BackendAsked(f.Backend.KEYS, f.BackendResult.TIMED_OUT, 10.0),
        f.Started(("mx 127.0.0.1:25",), 100, "0.0.0.0:9587", exposed=True),
        f.SettingsLoaded(100),
        f.SettingsRefused("upstream.tls: ..."),
        f.DrainBegan(3),
        f.Stopped(1),
    ):
        watched.observer.record(process_fact)
    watched.observer.record(Unheard())  # type: ignore[arg-type]  # as above
    return watched


def test_every_event_and_field_that_is_logged_is_in_the_table_and_the_other_way_round() -> None:
    found: dict[str, set[str]] = {}
    for event in everything().events():
        found.setdefault(event["event"], set()).update(event.keys() - {"event", "level", "timestamp"})
    assert found == {name: set(event.fields) for name, event in EVENTS.items()}


def test_every_field_of_an_event_is_explained_and_none_beside() -> None:
    assert {field for event in EVENTS.values() for field in event.fields} == set(FIELDS)


def test_an_event_has_only_levels_that_the_table_says() -> None:
    for event in everything().events():
        assert event["level"] in EVENTS[event["event"]].level
