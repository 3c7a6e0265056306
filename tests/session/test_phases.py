"""The table is total, and no cell of it lets a password cross a clear channel."""

from pathlib import Path

import pytest

from gatepost.facts import Channel, Refusal
from gatepost.policy import Policy, Upstream
from gatepost.session.phases import CELLS, TABLE, Duty, Phase, Stage
from gatepost.session.reference import render
from gatepost.session.talk import Rules, Waits
from gatepost.settings import (
    Address,
    Auth,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LoneNewlines,
    TimeoutSettings,
    UpstreamSettings,
    UpstreamTls,
)
from gatepost.wire.capabilities import read
from gatepost.wire.commands import Verb

CLEAR = [phase for phase in Phase if phase.channel is Channel.CLEAR]


def rules(auth: Auth, tls: ListenerTls = ListenerTls.STARTTLS) -> Rules:
    listener = ListenerSettings(name="x", bind=(Address("127.0.0.1", 0),), tls=tls, auth=auth)
    upstream = UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.NEVER)
    policy = Policy(listener, LimitSettings(), b"mx.example")
    return Rules(policy, upstream, LoneNewlines.NORMALISE, Waits(TimeoutSettings()))


def test_every_verb_has_a_cell_in_every_phase() -> None:
    assert set(TABLE) == set(Verb)
    assert set(CELLS) == {(verb, phase) for verb in Verb for phase in Phase}
    assert all(isinstance(cell, Duty | Refusal) for cell in CELLS.values())


def test_no_phase_with_a_clear_channel_authenticates() -> None:
    for phase in CLEAR:
        assert isinstance(CELLS[Verb.AUTH, phase], Refusal)


@pytest.mark.parametrize("auth", Auth)
def test_no_policy_adds_to_the_table(auth: Auth) -> None:
    for place, cell in rules(auth).cells.items():
        assert cell == CELLS[place] or isinstance(cell, Refusal)


@pytest.mark.parametrize("auth", Auth)
def test_authentication_runs_only_over_tls_after_hello_and_once(auth: Auth) -> None:
    allowed = {phase for (verb, phase), cell in rules(auth).cells.items() if verb is Verb.AUTH and cell is Duty.AUTH}
    assert allowed == (set() if auth is Auth.OFF else {Phase.TLS_READY})


def test_mail_on_a_submission_listener_needs_a_login() -> None:
    relayed = {Duty.MAIL, Duty.RCPT, Duty.DATA, Duty.BDAT, Duty.RELAY}
    for (_, phase), cell in rules(Auth.REQUIRED).cells.items():
        assert cell not in relayed or phase.logged_in


def test_who_poses_as_another_is_refused_everywhere() -> None:
    for phase in Phase:
        for verb in (Verb.XCLIENT, Verb.XFORWARD, Verb.BURL, Verb.TURN, Verb.UNKNOWN):
            assert isinstance(CELLS[verb, phase], Refusal)


def test_stages_move_within_channel_and_login() -> None:
    assert Phase.CLEAR_FRESH.at(Stage.READY) is Phase.CLEAR_READY
    assert Phase.LOGGED_IN_CHUNKS.at(Stage.READY) is Phase.LOGGED_IN_READY
    with pytest.raises(KeyError):
        Phase.LOGGED_IN_READY.at(Stage.FRESH)


@pytest.mark.parametrize("auth", Auth)
@pytest.mark.parametrize("tls", ListenerTls)
@pytest.mark.parametrize("mechanisms", [b"AUTH PLAIN", b"AUTH=LOGIN", b"AUTH GSSAPI", b"X"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_mechanism_is_offered_exactly_where_it_is_accepted(
    auth: Auth, tls: ListenerTls, mechanisms: bytes, *, guarded: bool
) -> None:
    it = rules(auth, tls)
    upstream = Upstream(read((b"legacy", mechanisms)), encrypted=False, guarded=guarded)
    offered = it.policy.mechanisms(upstream)
    possible = mechanisms in (b"AUTH PLAIN", b"AUTH=LOGIN") and guarded and auth is not Auth.OFF
    assert bool(offered) is possible


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "phases.md"
    assert page.read_text() == render(), "python -m gatepost.session.reference > docs/phases.md"
