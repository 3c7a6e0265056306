"""The legacy server and the clients by themselves, without gatepost: what fails behind it is not their fault."""

from __future__ import annotations

import re
import smtplib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from backends.provider import Provider
from e2e.clients import NAME, Door, Mail, Outcome
from e2e.dovecot import ALL, MASTER, MASTER_PASSWORD, MECHANISMS, TOKENS, XCLIENT, Legacy, Submission
from e2e.people import PASSWORD, TRICKY, USER
from e2e.saslclients import SASL_CLIENTS, SaslClient, SaslLogin, curl, msmtp, python
from e2e.spoken import PATIENCE_SECONDS
from peers import require

Certified = Callable[[str], Path]

SPOKEN = [(program, mechanism) for program, mechanism in SASL_CLIENTS if mechanism in MECHANISMS]

each_client_and_mechanism = pytest.mark.parametrize(
    ("client", "mechanism"),
    [pytest.param(SASL_CLIENTS[way], way[1], id="-".join(way)) for way in SPOKEN],
)


@pytest.fixture
def secret(mechanism: str, provider: Provider) -> str:
    return provider.mint(USER) if mechanism in TOKENS else PASSWORD


def door(legacy: Legacy, offer: str, folder: Path, scratch: Path) -> Door:
    return Door(legacy.port(offer), implicit=False, authority=folder / "ca.pem", folder=scratch)


@each_client_and_mechanism
def test_a_client_logs_in_and_its_mail_arrives(
    *, client: SaslClient, mechanism: str, secret: str, legacy: Legacy, folder: Path, tmp_path: Path
) -> None:
    heard = len(legacy.postfix.log)
    outcome = client(door(legacy, mechanism, folder, tmp_path), SaslLogin(mechanism, USER, secret), Mail(TRICKY))
    assert outcome.worked, outcome.said
    delivery = legacy.postfix.mailroom.next()
    assert delivery.message == TRICKY
    assert b"with ESMTPSA id" in delivery.trace
    legacy.postfix.log.expect(f"sasl_method={mechanism}, sasl_username={USER}$", heard)


def assert_refused(outcome: Outcome) -> None:
    assert not outcome.worked
    assert re.search(r"\b535\b.{1,4}5\.7\.8", outcome.said), outcome.said


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_secret_is_refused(
    *, mechanism: str, provider: Provider, legacy: Legacy, folder: Path, tmp_path: Path
) -> None:
    wrong = provider.mint("bob") if mechanism in TOKENS else "wrong"
    outcome = msmtp(door(legacy, mechanism, folder, tmp_path), SaslLogin(mechanism, USER, wrong), Mail(TRICKY))
    assert_refused(outcome)


@pytest.mark.parametrize("client", [curl, msmtp, python])
def test_the_clients_do_verify_the_certificate(client: SaslClient, legacy: Legacy, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    at = Door(legacy.port(ALL), implicit=False, authority=stranger, folder=tmp_path)
    heard = len(legacy.postfix.log)
    assert not client(at, SaslLogin("SCRAM-SHA-256", USER, PASSWORD), Mail(TRICKY)).worked
    legacy.postfix.log.expect(r"disconnect from .* ehlo=1 starttls=(0/)?1 commands=", heard)


def test_every_mechanism_has_a_client() -> None:
    assert {mechanism for _, mechanism in SPOKEN} == set(MECHANISMS)


@pytest.mark.parametrize("offer", [*MECHANISMS, ALL, XCLIENT])
def test_a_port_offers_its_mechanism_alone(offer: str, legacy: Legacy) -> None:
    with smtplib.SMTP("127.0.0.1", legacy.port(offer), timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        offered = client.esmtp_features["auth"].split()
        assert set(offered) == ({offer} if offer in MECHANISMS else set(MECHANISMS))
        assert ("xclient" in client.esmtp_features) == (offer == XCLIENT)
        assert client.has_extn("starttls")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_login_works_in_the_clear(mechanism: str, legacy: Legacy) -> None:
    """As on the leg between gatepost and a server that has no TLS."""
    with smtplib.SMTP("127.0.0.1", legacy.port(mechanism), timeout=PATIENCE_SECONDS) as client:
        client.login(USER, PASSWORD)
        client.sendmail("ann@example.org", ["bob@example.com"], TRICKY, ["BODY=8BITMIME"])
    assert b"with ESMTPA id" in legacy.postfix.mailroom.next().trace


client_of_a_master = pytest.mark.parametrize(("client", "mechanism"), [(curl, "PLAIN"), (python, "SCRAM-SHA-256")])


@client_of_a_master
def test_a_master_acts_as_a_user(
    *, client: SaslClient, mechanism: str, legacy: Legacy, folder: Path, tmp_path: Path
) -> None:
    heard = len(legacy.postfix.log)
    login = SaslLogin(mechanism, MASTER, MASTER_PASSWORD, authzid=USER)
    outcome = client(door(legacy, ALL, folder, tmp_path), login, Mail(TRICKY))
    assert outcome.worked, outcome.said
    assert legacy.postfix.mailroom.next().message == TRICKY
    legacy.postfix.log.expect(f"sasl_method={mechanism}, sasl_username={USER}$", heard)


@client_of_a_master
@pytest.mark.parametrize(
    "login",
    [
        SaslLogin("", MASTER, "wrong", authzid=USER),
        SaslLogin("", MASTER, MASTER_PASSWORD),
        SaslLogin("", USER, PASSWORD, authzid="bob"),
    ],
    ids=["a master with a wrong password", "a master as itself", "a user as another"],
)
def test_nobody_else_acts_as_a_user(
    *, client: SaslClient, mechanism: str, login: SaslLogin, legacy: Legacy, folder: Path, tmp_path: Path
) -> None:
    outcome = client(door(legacy, ALL, folder, tmp_path), replace(login, mechanism=mechanism), Mail(TRICKY))
    assert_refused(outcome)


@pytest.mark.parametrize(
    ("mechanism", "fault"), [("XOAUTH2", "expired"), ("OAUTHBEARER", "forged"), ("OAUTHBEARER", "opaque")]
)
def test_a_bad_token_is_refused(
    *, mechanism: str, fault: str, provider: Provider, legacy: Legacy, folder: Path, tmp_path: Path
) -> None:
    claims = provider.mint(USER).rpartition(".")[0]
    signature = provider.mint("bob").rpartition(".")[2]
    bad = {"expired": provider.mint(USER, exp=1), "forged": f"{claims}.{signature}", "opaque": "opaque"}[fault]
    outcome = msmtp(door(legacy, mechanism, folder, tmp_path), SaslLogin(mechanism, USER, bad), Mail(TRICKY))
    assert_refused(outcome)


def stated(port: int, authority: Path, login: str) -> Outcome:
    """Mail by a swaks that states a login instead of proving one."""
    command = [
        require("swaks", package="swaks"),
        *("--server", NAME, "--port", str(port), "--helo", "client.example"),
        *("--tls", "--tls-verify", "--tls-ca-path", str(authority), "--xclient-login", login),
        *("--from", "ann@example.org", "--to", "bob@example.com"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    return Outcome(done.returncode == 0, done.stdout)


def test_a_stated_login_is_believed_at_one_port(legacy: Legacy, folder: Path) -> None:
    heard = len(legacy.postfix.log)
    outcome = stated(legacy.port(XCLIENT), folder / "ca.pem", USER)
    assert outcome.worked, outcome.said
    assert legacy.postfix.mailroom.next().sender.startswith(b"<ann@example.org>")
    legacy.postfix.log.expect(f"sasl_username={USER}$", heard)


def test_a_stated_login_is_not_believed_elsewhere(legacy: Legacy) -> None:
    with smtplib.SMTP("127.0.0.1", legacy.port(ALL), timeout=PATIENCE_SECONDS) as client:
        client.ehlo("client.example")
        assert client.docmd("XCLIENT", f"LOGIN={USER}")[0] == 550
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("ann@example.org", ["bob@example.com"], TRICKY)


@pytest.fixture
def certified(authority: trustme.CA, tmp_path: Path) -> Certified:
    """A client's certificate with its key, in PEM, for a CN."""

    def certified(name: str) -> Path:
        path = tmp_path / f"{name}.pem"
        authority.issue_cert("client.example", common_name=name).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    return certified


client_with_certificates = pytest.mark.parametrize(
    "client", [client for (_, mechanism), client in SASL_CLIENTS.items() if mechanism == "EXTERNAL"]
)


@client_with_certificates
@pytest.mark.parametrize("name", [USER, MASTER])
def test_a_certificate_logs_in(
    *, client: SaslClient, name: str, certified: Certified, external: Submission, folder: Path, tmp_path: Path
) -> None:
    heard = len(external.dovecot.log)
    door = Door(external.starttls, implicit=False, authority=folder / "ca.pem", folder=tmp_path)
    outcome = client(door, SaslLogin("EXTERNAL", USER, "", certificate=certified(name)), Mail(TRICKY))
    assert outcome.worked, outcome.said
    assert external.mailroom.next().message == TRICKY
    external.dovecot.log.expect(f"Login: user=<{USER}>, method=EXTERNAL", heard)


@client_with_certificates
@pytest.mark.parametrize("name", ["bob", None])
def test_another_or_no_certificate_is_refused(
    *, client: SaslClient, name: str | None, certified: Certified, external: Submission, folder: Path, tmp_path: Path
) -> None:
    door = Door(external.implicit, implicit=True, authority=folder / "ca.pem", folder=tmp_path)
    shown = certified(name) if name else None
    assert_refused(client(door, SaslLogin("EXTERNAL", USER, "", certificate=shown), Mail(TRICKY)))
