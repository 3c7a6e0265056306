"""What was played, what /metrics counts and what the log tells are the same, to the last unit."""

import json
import smtplib
from base64 import b64encode
from pathlib import Path

from e2e.agreement import as_the_log_has_them, counted_from
from e2e.clients import NAME, Door, connected
from e2e.gateway import Gatepost, Series, running
from e2e.people import PASSWORD, TRICKY, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS

BLOB = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
WRONG = b64encode(f"\0{USER}\0wrong".encode()).decode()
SENT = TRICKY.replace(b"\r\n.", b"\r\n..") + b".\r\n"  # as it crosses the wire (RFC 5321 section 4.5.2)
CONVERSATIONS = 7

EXPECTED: dict[Series, float] = {
    ("conversations_total", "submission"): 3,
    ("conversations_total", "submissions"): 3,
    ("conversations_total", "mx"): 1,
    ("conversations_ended_total", "quit", "submission"): 3,
    ("conversations_ended_total", "quit", "submissions"): 1,
    ("conversations_ended_total", "refused", "submissions"): 1,
    ("conversations_ended_total", "client_gone", "submissions"): 1,
    ("conversations_ended_total", "quit", "mx"): 1,
    ("tls_handshakes_total", "aead", "client", "submission", "false", "TLSv1.3"): 2,
    ("tls_handshakes_total", "aead", "client", "submissions", "false", "TLSv1.3"): 3,
    ("auth_attempts_total", "tls", "submission", "PLAIN", "accepted"): 1,
    ("auth_attempts_total", "tls", "submission", "LOGIN", "accepted"): 1,
    ("auth_attempts_total", "clear", "submission", "PLAIN", "clear_refused"): 2,
    ("auth_attempts_total", "clear", "submission", "LOGIN", "clear_refused"): 1,
    ("auth_attempts_total", "tls", "submissions", "PLAIN", "rejected"): 3,
    ("auth_attempts_total", "tls", "submissions", "PLAIN", "malformed"): 1,
    ("auth_attempts_total", "tls", "submissions", "LOGIN", "cancelled"): 1,
    ("auth_attempts_total", "tls", "submissions", "CRAM-MD5", "mechanism_refused"): 1,
    ("auth_attempts_total", "tls", "submissions", "LOGIN", "abandoned"): 1,
    ("auth_attempts_by_network_total", "loopback", "accepted"): 2,
    ("auth_attempts_by_network_total", "loopback", "clear_refused"): 3,
    ("auth_attempts_by_network_total", "loopback", "rejected"): 3,
    ("auth_attempts_by_network_total", "loopback", "malformed"): 1,
    ("auth_attempts_by_network_total", "loopback", "cancelled"): 1,
    ("auth_attempts_by_network_total", "loopback", "mechanism_refused"): 1,
    ("auth_attempts_by_network_total", "loopback", "abandoned"): 1,
    ("auth_credentials_exposed_total", "submission", "PLAIN", "loopback"): 1,
    ("auth_rewrites_total", "PLAIN", "accepted", "PLAIN"): 1,
    ("auth_rewrites_total", "LOGIN", "accepted", "PLAIN"): 1,
    ("auth_rewrites_total", "PLAIN", "rejected", "PLAIN"): 3,
    ("limits_hit_total", "login_failures", "submissions"): 1,
    ("refusals_total", "530", "submission", "tls_required"): 3,
    ("refusals_total", "535", "submissions", "credentials_invalid"): 3,
    ("refusals_total", "421", "submissions", "too_many_failures"): 1,
    ("refusals_total", "501", "submissions", "cannot_decode"): 1,
    ("refusals_total", "501", "submissions", "auth_cancelled"): 1,
    ("refusals_total", "504", "submissions", "mechanism_unknown"): 1,
    # two sessions of greeting, EHLO, STARTTLS, EHLO, AUTH, QUIT; one without STARTTLS and AUTH; MAIL, RCPT and the end
    ("replies_total", "2xx", "submission"): 2 * 6 + 3 + 3 + 5 + 3,
    ("replies_total", "3xx", "submission"): 4,
    ("replies_total", "5xx", "submission"): 3,
    ("replies_total", "2xx", "submissions"): 7,
    ("replies_total", "3xx", "submissions"): 2,
    ("replies_total", "4xx", "submissions"): 1,
    ("replies_total", "5xx", "submissions"): 6,
    ("replies_total", "2xx", "mx"): 6,
    ("replies_total", "3xx", "mx"): 1,
    ("messages_total", "submission", "accepted"): 3,
    ("message_recipients_total", "submission"): 5,
    ("message_body_bytes_total", "submission"): 3 * len(SENT),
    ("messages_total", "mx", "accepted"): 1,
    ("message_recipients_total", "mx"): 1,
    ("message_body_bytes_total", "mx"): len(SENT),
}


def play(gate: Gatepost, folder: Path) -> None:
    submission = Door(gate.ports["submission"], implicit=False, authority=folder / "ca.pem", folder=folder)
    submissions = Door(gate.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=folder)
    with connected(submission) as client:
        client.ehlo("client.example")
        assert client.docmd("AUTH", f"PLAIN {BLOB}")[0] == 235
        for recipients in (["bob@example.com"], ["bob@example.com", "cem@example.com"]):
            client.sendmail("ann@example.org", recipients, TRICKY, ["BODY=8BITMIME"])
    with connected(submission) as client:
        client.ehlo("client.example")
        client.user, client.password = USER, PASSWORD
        client.auth("LOGIN", client.auth_login)
        client.sendmail("ann@example.org", ["bob@example.com", "cem@example.com"], TRICKY, ["BODY=8BITMIME"])
    with smtplib.SMTP(NAME, gate.ports["submission"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        for argument in (f"PLAIN {BLOB}", "PLAIN", "LOGIN"):
            assert client.docmd("AUTH", argument)[0] == 530
    play_failures(submissions)
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("mx.example.org")
        client.sendmail("ann@example.org", ["bob@example.net"], TRICKY, ["BODY=8BITMIME"])


def play_failures(door: Door) -> None:
    client = connected(door)
    client.ehlo("client.example")
    assert [client.docmd("AUTH", f"PLAIN {WRONG}")[0] for _ in range(3)] == [535, 535, 535]
    assert client.getreply()[0] == 421
    client.close()
    with connected(door) as client:
        client.ehlo("client.example")
        assert client.docmd("AUTH", "PLAIN ///=")[0] == 501
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH", "CRAM-MD5")[0] == 504
    client = connected(door)
    client.ehlo("client.example")
    assert client.docmd("AUTH", "LOGIN")[0] == 334
    client.close()


def test_metrics_are_what_was_played(postfix: Postfix, folder: Path) -> None:
    settings = {"address": f"127.0.0.1:{postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, settings) as gate:
        gate.ready()
        play(gate, folder)
        gate.log.expect('"event":"conversation"', skip=CONVERSATIONS - 1)
        counts = gate.counts()
        events = [json.loads(line) for line in gate.log.lines()]
    assert counts == EXPECTED
    assert counted_from(events) == as_the_log_has_them(counts)
