"""swaks, curl, msmtp and smtplib through gatepost to a Postfix that offers its passwords in the clear."""

import pytest
import trustme

from e2e.clients import CLIENTS, Client, Door, Login, Mail
from e2e.gateway import Gatepost
from e2e.people import PASSWORD, TRICKY, USER, large
from e2e.postfix import Postfix

RECIPIENTS = ("bob@example.com", "cem@example.com", "dan@example.net")
SIZE = 10_000_000

client_of_each_kind = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
door_of_each_kind = pytest.mark.parametrize("listener", ["submission", "submissions"])


@pytest.fixture
def door(listener: str, submission: Door, submissions: Door) -> Door:
    return submission if listener == "submission" else submissions


@client_of_each_kind
@door_of_each_kind
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_message_arrives_as_it_was_sent(client: Client, door: Door, mechanism: str, postfix: Postfix) -> None:
    outcome = client(door, Login(mechanism, USER, PASSWORD), Mail(TRICKY, recipients=RECIPIENTS))
    assert outcome.worked, outcome.said
    delivery = postfix.mailroom.next()
    assert delivery.message == TRICKY
    assert [recipient.split()[0] for recipient in delivery.recipients] == [b"<%b>" % r.encode() for r in RECIPIENTS]
    assert delivery.sender.startswith(b"<ann@example.org>")
    assert b"from client.example" in delivery.trace  # gatepost passes the client's name on
    assert b"with ESMTPA" in delivery.trace  # A: authenticated, and no S, since that leg is clear


@client_of_each_kind
def test_ten_megabytes_arrive(client: Client, submissions: Door, postfix: Postfix) -> None:
    message = large(SIZE)
    outcome = client(submissions, Login("PLAIN", USER, PASSWORD), Mail(message))
    assert outcome.worked, outcome.said
    assert postfix.mailroom.next().message == message


@client_of_each_kind
@door_of_each_kind
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_wrong_password_is_refused_by_postfix(
    *, client: Client, door: Door, mechanism: str, postfix: Postfix, gate: Gatepost
) -> None:
    heard, logged = len(postfix.log), gate.settled()
    outcome = client(door, Login(mechanism, USER, "wrong"), Mail(TRICKY))
    assert not outcome.worked
    assert "535" in outcome.said
    postfix.log.expect(r"SASL (PLAIN|LOGIN) authentication failed", heard)
    assert gate.event("authentication", logged)["gatepost.auth.result"] == "rejected"
    assert gate.event("conversation", logged)["gatepost.messages.accepted"] == 0


@client_of_each_kind
@door_of_each_kind
def test_the_clients_do_verify_the_certificate(client: Client, door: Door, postfix: Postfix, gate: Gatepost) -> None:
    """Otherwise the tests above would prove less than they seem to."""
    stranger = door.folder / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    door = Door(door.port, implicit=door.implicit, authority=stranger, folder=door.folder)
    heard, logged = len(postfix.log), gate.settled()
    outcome = client(door, Login("PLAIN", USER, PASSWORD), Mail(TRICKY))
    assert not outcome.worked
    gate.event("conversation", logged)
    assert gate.events("authentication", logged) == []
    assert postfix.connections(heard) == 0
