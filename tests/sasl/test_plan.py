"""How a password becomes the upstream's AUTH."""

import pytest

from gatepost.facts import Mechanism
from gatepost.sasl.exchange import Password, Secret
from gatepost.sasl.plan import SERVER, plan, upstream_mechanism

PASSWORD = Password("alice", "", Secret(b"pw"))
PLAIN, LOGIN, GSSAPI = Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.OTHER


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ({PLAIN, LOGIN}, PLAIN),
        ({LOGIN}, LOGIN),
        ({PLAIN}, PLAIN),
        ({GSSAPI}, None),
        (set(), None),
        ({Mechanism.SCRAM_SHA_256}, None),
    ],
)
def test_the_strongest_that_is_offered(offered: set[Mechanism], chosen: Mechanism | None) -> None:
    assert upstream_mechanism(frozenset(offered), guarded=True) is chosen
    made = plan(PASSWORD, frozenset(offered), guarded=True)
    assert (made.mechanism if made else None) is chosen


def test_over_an_unguarded_leg_there_is_no_way() -> None:
    for offered in ({PLAIN}, {LOGIN}, {PLAIN, LOGIN}):
        assert plan(PASSWORD, frozenset(offered), guarded=False) is None


def test_an_identity_to_act_as_needs_plain() -> None:
    acting = Password("alice", "boss", Secret(b"pw"))
    assert plan(acting, frozenset({LOGIN}), guarded=True) is None
    made = plan(acting, frozenset({PLAIN, LOGIN}), guarded=True)
    assert made
    assert next(made.exchange) == b"boss\0alice\0pw"
    assert plan(Password("alice", "alice", Secret(b"pw")), frozenset({LOGIN}), guarded=True)


def test_clients_may_speak_what_a_plan_leads_on_from() -> None:
    assert set(SERVER) == {PLAIN, LOGIN}
