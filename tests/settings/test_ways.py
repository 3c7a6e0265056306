"""Which way a login takes, as far as the settings decide it."""

from dataclasses import replace

import pytest

from gatepost.facts import Mechanism
from gatepost.settings import Represent
from gatepost.settings.ways import BEARER, HANDED_OVER, PASSWORD, REPRESENTED_BY, Ways, accepted

SHUT = Ways(
    mechanisms=None, relay=(), represent=None, users=False, verify_passwords=False, tokens=False, client_ca=False
)
OPEN = replace(SHUT, represent=Represent.SERVICE, users=True, verify_passwords=True, tokens=True, client_ca=True)
SASL = frozenset(accepted(tuple(Mechanism)))


def test_without_more_settings_passwords_and_tokens_are_passed_on_and_all_else_leads_nowhere() -> None:
    led = {mechanism: SHUT.toward(mechanism) for mechanism in Mechanism if SHUT.toward(mechanism)}
    assert led == {
        Mechanism.PLAIN: PASSWORD,
        Mechanism.LOGIN: PASSWORD,
        Mechanism.OAUTHBEARER: BEARER,
        Mechanism.XOAUTH2: BEARER,
    }


@pytest.mark.parametrize("represent", Represent)
def test_whoever_is_proven_is_represented_whatever_the_mechanism(represent: Represent) -> None:
    ways = replace(OPEN, represent=represent)
    assert {ways.toward(mechanism) for mechanism in SASL} == {REPRESENTED_BY[represent]}


def test_whoever_is_proven_and_not_represented_gets_nowhere() -> None:
    """Above all, a password that gatepost checks is not passed on as well."""
    ways = replace(OPEN, represent=None)
    assert {ways.toward(mechanism) for mechanism in SASL} == {()}


@pytest.mark.parametrize(
    ("switch", "proving"),
    [
        ("users", {Mechanism.CRAM_MD5, Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256}),
        ("verify_passwords", {Mechanism.PLAIN, Mechanism.LOGIN}),
        ("tokens", set(BEARER)),
        ("client_ca", {Mechanism.EXTERNAL}),
    ],
)
def test_each_table_proves_by_its_own_mechanisms(switch: str, proving: set[Mechanism]) -> None:
    assert {mechanism for mechanism in SASL if replace(SHUT, **{switch: True}).proves(mechanism)} == proving  # type: ignore[arg-type]


def test_what_is_relayed_stays_what_it_is_and_proves_nothing_here() -> None:
    ways = replace(OPEN, relay=(Mechanism.SCRAM_SHA_1,), mechanisms=(Mechanism.PLAIN,))
    assert ways.toward(Mechanism.SCRAM_SHA_1) == (Mechanism.SCRAM_SHA_1,)
    assert not ways.proves(Mechanism.SCRAM_SHA_1)
    assert ways.toward(Mechanism.SCRAM_SHA_256) == (Mechanism.PLAIN,)


def test_only_allowed_mechanisms_go_to_the_upstream_and_the_strongest_comes_first() -> None:
    ways = replace(SHUT, mechanisms=(Mechanism.LOGIN, Mechanism.XOAUTH2, Mechanism.SCRAM_SHA_1))
    assert ways.toward(Mechanism.LOGIN) == (Mechanism.SCRAM_SHA_1, Mechanism.LOGIN)
    assert ways.toward(Mechanism.OAUTHBEARER) == (Mechanism.XOAUTH2,)
    assert ways.exposed(Mechanism.PLAIN) == {Mechanism.LOGIN}


def test_a_credential_is_exposed_by_what_hands_it_over() -> None:
    assert SHUT.exposed(Mechanism.PLAIN) == {Mechanism.PLAIN, Mechanism.LOGIN}
    assert SHUT.exposed(Mechanism.XOAUTH2) == set(BEARER)
    assert OPEN.exposed(Mechanism.SCRAM_SHA_256) == {Mechanism.PLAIN}  # the service account's password
    for represent in (Represent.XCLIENT, Represent.CERTIFICATE):
        assert replace(OPEN, represent=represent).exposed(Mechanism.PLAIN) == set()
    assert HANDED_OVER < SASL


def test_cram_md5_is_accepted_only_when_it_is_asked_for() -> None:
    assert SASL - set(accepted(None)) == {Mechanism.CRAM_MD5}
    assert set(accepted(None, relay=(Mechanism.CRAM_MD5,))) == SASL
    assert accepted((Mechanism.CRAM_MD5,)) == (Mechanism.CRAM_MD5,)
    assert accepted((Mechanism.PLAIN,), relay=(Mechanism.CRAM_MD5,)) == (Mechanism.PLAIN,)
