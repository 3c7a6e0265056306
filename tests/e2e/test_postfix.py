"""What a real Postfix must get, and must not: extensions, groups of commands, chunks, and nothing from the clear."""

import smtplib
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from e2e.clients import NAME, Door, connected
from e2e.gateway import Gatepost
from e2e.people import HEADER, PASSWORD, TRICKY, USER
from e2e.postfix import Postfix
from e2e.spoken import PATIENCE_SECONDS
from peers import require

BLOB = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
CLEAR_AUTH = (f"PLAIN {BLOB}", "PLAIN", "LOGIN", f"LOGIN {b64encode(USER.encode()).decode()}", "CRAM-MD5")


def replies(client: smtplib.SMTP, number: int) -> list[int]:
    return [client.getreply()[0] for _ in range(number)]


def logged_in(door: Door) -> smtplib.SMTP:
    client = connected(door)
    client.ehlo("client.example")
    client.login(USER, PASSWORD)
    return client


def test_the_extensions_of_postfix_are_offered_and_work(submission: Door, postfix: Postfix) -> None:
    with logged_in(submission) as client:
        for extension in ("size", "pipelining", "8bitmime", "smtputf8", "dsn", "chunking", "enhancedstatuscodes"):
            assert client.has_extn(extension), extension
        assert client.esmtp_features["size"] == "20000000"
        client.sendmail(
            "jürgen@example.org",
            ["bøb@example.com"],
            TRICKY,
            ["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=QQ314159"],
            ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;carol@example.com"],
        )
    delivery = postfix.mailroom.next()
    assert delivery.message == TRICKY
    sender, *of_mail = delivery.sender.split()
    assert sender == "<jürgen@example.org>".encode()
    assert {b"BODY=8BITMIME", b"RET=HDRS", b"ENVID=QQ314159", b"SMTPUTF8"} <= set(of_mail)
    (recipient,) = delivery.recipients
    assert recipient.split()[0] == "<bøb@example.com>".encode()
    assert {b"NOTIFY=FAILURE,DELAY", b"ORCPT=rfc822;carol@example.com"} <= set(recipient.split()[1:])


def test_a_message_in_chunks_is_not_read_for_dots(submission: Door, postfix: Postfix) -> None:
    """RFC 3030: octets are counted. A lone dot is content, and may be the end of a chunk."""
    first, second, last = HEADER + b".\r\n", b".\r\nMAIL FROM:<forged@example.org>\r\n", TRICKY
    with logged_in(submission) as client:
        client.send(
            b"MAIL FROM:<ann@example.org> BODY=8BITMIME\r\nRCPT TO:<bob@example.com>\r\n"
            + b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in (first, second, last))
            + b"BDAT 0 LAST\r\nNOOP\r\n"
        )
        assert replies(client, 7) == [250] * 7
    assert postfix.mailroom.next().message == first + second + last


def test_a_group_of_commands_is_answered_in_order(submissions: Door, postfix: Postfix) -> None:
    with logged_in(submissions) as client:
        client.send(
            b"MAIL FROM:<ann@example.org>\r\n"
            b"RCPT TO:<bob@example.com>\r\n"
            b"RCPT TO:<not an address>\r\n"
            b"XCLIENT NAME=trusted.example\r\n"
            b"RCPT TO:<cem@example.com>\r\n"
            b"DATA\r\n"
        )
        assert replies(client, 6) == [250, 250, 501, 550, 250, 354]
        client.send(HEADER + b"..\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nNOOP\r\nQUIT\r\n")
        assert replies(client, 5) == [250, 250, 250, 250, 221]
        client.close()
    delivery = postfix.mailroom.next()
    assert delivery.message == HEADER + b".\r\n"
    assert len(delivery.recipients) == 2


def test_only_crlf_dot_crlf_ends_a_message(submission: Door, postfix: Postfix) -> None:
    """CVE-2023-51764 and kin: no second message hides behind another end of line."""
    hidden = b"MAIL FROM:<forged@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nhidden\r\n"
    lone = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r.\r")
    body = HEADER + b"".join(b"x" + end + hidden for end in lone)
    with logged_in(submission) as client:
        client.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
        assert replies(client, 3) == [250, 250, 354]
        client.send(body + b"\r\n.\r\n")
        assert replies(client, 1) == [250]
        assert client.noop()[0] == 250
        client.sendmail("ann@example.org", ["bob@example.com"], TRICKY, ["BODY=8BITMIME"])
    messages = [postfix.mailroom.next().message for _ in range(2)]  # Postfix may deliver the second one first
    messages.remove(TRICKY)
    assert messages[0].count(b"hidden\r\n") == len(lone)


@pytest.mark.parametrize("argument", CLEAR_AUTH)
def test_auth_in_the_clear_gets_530_and_postfix_hears_nothing(argument: str, gate: Gatepost, postfix: Postfix) -> None:
    heard = len(postfix.log)
    with smtplib.SMTP(NAME, gate.ports["submission"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", argument)[0] == 530
        assert client.docmd(b64encode(PASSWORD.encode()).decode())[0] == 500  # clients that do not wait go on with it
        assert client.docmd("MAIL", "FROM:<ann@example.org>")[0] == 530
    assert postfix.connections(heard) == 0


def test_swaks_in_the_clear_is_refused(gate: Gatepost, postfix: Postfix) -> None:
    heard = len(postfix.log)
    command = [
        require("swaks", package="swaks"),
        *("--server", NAME, "--port", str(gate.ports["submission"]), "--helo", "client.example"),
        *("--auth-optional", "--auth-user", USER, "--auth-password", PASSWORD),
        *("--from", "ann@example.org", "--to", "bob@example.com"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode != 0
    assert "<** 530 5.7.0 Must issue a STARTTLS command first" in done.stdout
    assert postfix.connections(heard) == 0


def test_mail_for_port_25_needs_neither_tls_nor_login(gate: Gatepost, postfix: Postfix, tmp_path: Path) -> None:
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("mx.example.org")
        client.sendmail("ann@example.org", ["bob@example.net"], TRICKY, ["BODY=8BITMIME"])
        with pytest.raises(smtplib.SMTPRecipientsRefused):  # Postfix still decides: it is no open relay
            client.sendmail("ann@example.org", ["bob@example.com"], TRICKY)
    delivery = postfix.mailroom.next()
    assert delivery.message == TRICKY
    assert b"with ESMTP id" in delivery.trace  # neither S nor A


@pytest.mark.parametrize("argument", CLEAR_AUTH)
def test_auth_in_the_clear_on_port_25_gets_504(argument: str, gate: Gatepost, postfix: Postfix) -> None:
    heard = len(postfix.log)
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", argument)[0] == 504
    assert postfix.connections(heard) == 0


def test_a_login_on_port_25_works_over_tls(gate: Gatepost, postfix: Postfix, submission: Door) -> None:
    door = Door(gate.ports["mx"], implicit=False, authority=submission.authority, folder=submission.folder)
    with logged_in(door) as client:
        client.sendmail("ann@example.org", ["bob@example.com"], TRICKY, ["BODY=8BITMIME"])
    assert postfix.mailroom.next().message == TRICKY
