"""The matrix of mechanisms: what docs/mechanisms.md says works, with real programs in front and a real server behind.

For each way and each mechanism of the upstream there is one gatepost, in front of a port that offers that mechanism
alone. Every mechanism of clients is tried there, whether it works or not: `WORKING`, which the page is made of, says
which, so that no cell of it can be missing here.
"""

from __future__ import annotations

import json
import re
import smtplib
import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest
import trustme
from joserfc.jwk import ECKey

from backends.provider import Provider
from e2e.clients import NAME, Door, Mail
from e2e.dovecot import Legacy, Submission
from e2e.fronts import Front, House, fronting
from e2e.people import HEADER, TRICKY, USER
from e2e.saslclients import SASL_CLIENTS, msmtp, python
from e2e.spoken import PATIENCE_SECONDS
from gatepost.facts import Mechanism
from gatepost.sasl.plan import SCRAMS
from gatepost.sasl.reference import CLIENTS, WORKING, Cell, Way, travellers
from gatepost.settings.ways import BEARER

Pair = tuple[Mechanism, Way]

PAIRS: list[Pair] = sorted({cell[1:] for cell in WORKING}, key=lambda pair: (pair[1].name, pair[0].name))
# Whoever is wrong is told so by gatepost, and where it proves nothing, by the upstream.
JUDGES: list[Pair] = [
    (Mechanism.XCLIENT, Way.XCLIENT),
    (Mechanism.PLAIN, Way.PASSED_ON),
    (Mechanism.OAUTHBEARER, Way.PASSED_ON),
    (Mechanism.SCRAM_SHA_256, Way.RELAYED),
]
STATUS = {Mechanism.OAUTHBEARER: "invalid_token", Mechanism.XOAUTH2: "401"}  # of a token that is refused
UNWILLING = ("curl", "XOAUTH2")  # with a token it takes OAUTHBEARER where both are offered, whatever it is told


def spoken() -> dict[Cell, tuple[str, str]]:
    """For each cell one of the programs that speak the client's mechanism, in turn.

    Dovecot's submission server offers 8BITMIME, and refuses it after the login; msmtp does not ask for it.
    """
    usable = [key for key in SASL_CLIENTS if key != UNWILLING]
    speakers = {client: cycle([key for key in usable if key[1] == client.value]) for client in CLIENTS}
    return {
        cell: ("msmtp", cell[0].value) if cell[1] is Mechanism.EXTERNAL else next(speakers[cell[0]]) for cell in WORKING
    }


SPOKEN = spoken()


def write(pair: Pair) -> str:
    return f"{pair[0].value}, {pair[1].value}"


@pytest.fixture(scope="module")
def house(authority: trustme.CA, running_legacy: Legacy, external: Submission, provider: Provider) -> House:
    """The provider signs for the upstream by one key, and for gatepost by another as well."""
    (key,) = provider.keys
    own = ECKey.generate_key("P-256", {"kid": "own", "use": "sig", "alg": "ES256"})
    provider.keys = [key, own]
    provider.grants["access_token"] = provider.mint(USER)
    return House(running_legacy, external, provider, authority, own)


@pytest.fixture(scope="module", params=PAIRS, ids=write)
def running_front(
    request: pytest.FixtureRequest, house: House, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    upstream, way = request.param
    with fronting(house, upstream, way, tmp_path_factory.mktemp("front")) as front:
        house.legacy.postfix.settle()  # its first look at the upstream is over
        yield front


@pytest.fixture
def front(running_front: Front) -> Front:
    """With empty mailrooms."""
    running_front.mailroom.clear()
    return running_front


@contextmanager
def greeted(front: Front, door: Door) -> Iterator[smtplib.SMTP]:
    """A client on TLS, with the user's certificate, that has heard what is offered."""
    context = ssl.create_default_context(cafile=door.authority)
    context.load_cert_chain(front.certificate(USER))
    with smtplib.SMTP(NAME, door.port, timeout=PATIENCE_SECONDS) as client:
        client.starttls(context=context)
        client.ehlo("client.example")
        yield client


def offered(client: smtplib.SMTP) -> set[str]:
    return set(client.esmtp_features.get("auth", "").split())


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.value)
def test_each_mechanism_works_or_is_refused_as_the_page_says(front: Front, client: Mechanism, tmp_path: Path) -> None:
    if (client, front.upstream, front.way) in WORKING:
        assert_mail_arrives(front, client, tmp_path)
    else:
        assert_refused_here(front, client, tmp_path)


def assert_mail_arrives(front: Front, client: Mechanism, scratch: Path) -> None:
    """Octet for octet; both sides and the metric say by what."""
    program = SPOKEN[client, front.upstream, front.way]
    heard, noted = len(front.log), front.gate.settled()
    outcome = SASL_CLIENTS[program](front.door(scratch), front.login(client), Mail(TRICKY))
    assert outcome.worked, outcome.said
    assert front.mailroom.next().message == TRICKY
    front.log.expect(front.logged_in, heard)
    event = front.gate.event("authentication", noted)
    assert event["gatepost.auth.result"] == "accepted"
    assert event["gatepost.auth.mechanism"] == client.value
    assert event["gatepost.upstream.auth.mechanism"] == front.upstream.value
    assert event.get("user.name", "") == ("" if front.way is Way.RELAYED else USER)  # who relays hears no name
    assert front.gate.counts()["auth_rewrites_total", client.value, "accepted", front.upstream.value] == 1


def assert_refused_here(front: Front, client: Mechanism, scratch: Path) -> None:
    """By gatepost alone: the upstream hears nothing."""
    postfix = front.house.legacy.postfix
    heard = len(postfix.log)
    with greeted(front, front.door(scratch)) as connection:
        assert client.value not in offered(connection)
        code, _ = connection.docmd("AUTH", client.value)
    assert code == (454 if client in travellers(front.way) else 504)
    assert postfix.connections(heard) == 0


def test_what_works_is_offered(front: Front, tmp_path: Path) -> None:
    with greeted(front, front.door(tmp_path)) as connection:
        assert offered(connection) == {
            client.value for client in CLIENTS if (client, front.upstream, front.way) in WORKING
        }


@pytest.mark.parametrize(
    ("running_front", "client"),
    [
        pytest.param(pair, cell[0], id=f"{write(pair)}-{cell[0].value}")
        for pair in JUDGES
        for cell in WORKING
        if cell[1:] == pair
    ],
    indirect=["running_front"],
)
def test_wrong_credentials_are_refused_and_counted(front: Front, client: Mechanism, tmp_path: Path) -> None:
    noted = front.gate.settled()
    program = python if client in SCRAMS else msmtp
    outcome = program(front.door(tmp_path), front.wrong(client), Mail(HEADER))
    assert not outcome.worked
    assert re.search(r"\b535\b.{1,4}5\.7\.8", outcome.said), outcome.said
    assert explained(outcome.said) == ([STATUS[client]] if client in BEARER else [])
    assert front.gate.event("authentication", noted)["gatepost.auth.result"] == "rejected"
    assert front.gate.counts()["auth_attempts_total", "tls", "submission", client.value, "rejected"] == 1


def explained(said: str) -> list[str]:
    """The status in each challenge of JSON in msmtp's transcript (RFC 7628 section 3.2.2)."""
    challenges = [b64decode(word) for word in re.findall(r"334 (\S+)", said)]
    return [json.loads(challenge)["status"] for challenge in challenges if challenge.startswith(b"{")]


def test_every_program_has_its_turn_with_every_mechanism_that_it_speaks() -> None:
    assert set(SPOKEN.values()) == set(SASL_CLIENTS) - {UNWILLING}
