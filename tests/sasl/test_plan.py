"""How what a client speaks becomes the upstream's AUTH: every pair of mechanisms, by hand."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.facts import Mechanism
from gatepost.sasl.plan import BY_PASSWORD, BY_TOKEN, PASS_ON, SERVER, Means, Naming, Offered, upstream_mechanism
from gatepost.settings import Represent
from gatepost.settings.ways import HANDED_OVER, Ways

PLAIN, LOGIN, CRAM = Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5
SCRAM_1, SCRAM_256 = Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256
XOAUTH2, OAUTHBEARER = Mechanism.XOAUTH2, Mechanism.OAUTHBEARER
EXTERNAL, XCLIENT = Mechanism.EXTERNAL, Mechanism.XCLIENT
UPSTREAM = (SCRAM_256, SCRAM_1, CRAM, PLAIN, LOGIN, OAUTHBEARER, XOAUTH2, EXTERNAL, XCLIENT)
EVERYTHING = frozenset(UPSTREAM)

# By hand, strongest first: what the upstream can be shown in each way.
PASSWORD = (SCRAM_256, SCRAM_1, CRAM, PLAIN, LOGIN)
REPRESENTED = {
    Represent.SECRET: PASSWORD,
    Represent.SERVICE: (SCRAM_256, SCRAM_1, PLAIN),
    Represent.TOKEN: (OAUTHBEARER, XOAUTH2),
    Represent.XCLIENT: (XCLIENT,),
    Represent.CERTIFICATE: (EXTERNAL,),
}
PASSED_ON = {PLAIN: PASSWORD, LOGIN: PASSWORD, XOAUTH2: (OAUTHBEARER, XOAUTH2), OAUTHBEARER: (OAUTHBEARER, XOAUTH2)}


def means(
    represent: Represent | None = None,
    *,
    proves: bool = False,
    relay: tuple[Mechanism, ...] = (),
    mechanisms: tuple[Mechanism, ...] | None = None,
) -> Means:
    return Means(
        Ways(
            mechanisms=mechanisms,
            relay=relay,
            represent=represent,
            users=proves,
            verify_passwords=proves,
            tokens=proves,
            client_ca=proves,
        )
    )


def offered(*mechanisms: Mechanism, binds: bool = False, guarded: bool = True) -> Offered:
    return Offered(frozenset(mechanisms), binds, guarded)


@pytest.mark.parametrize(("client", "upstream"), list(product(SERVER, UPSTREAM)))
def test_every_pair_of_mechanisms_when_nothing_is_proven_here(client: Mechanism, upstream: Mechanism) -> None:
    chosen = upstream_mechanism(client, PASS_ON, offered(upstream))
    assert chosen is (upstream if upstream in PASSED_ON.get(client, ()) else None)


@pytest.mark.parametrize(("client", "upstream", "represent"), list(product(SERVER, UPSTREAM, Represent)))
def test_every_pair_of_mechanisms_when_users_are_proven_here(
    client: Mechanism, upstream: Mechanism, represent: Represent
) -> None:
    chosen = upstream_mechanism(client, means(represent, proves=True), offered(upstream))
    assert chosen is (upstream if upstream in REPRESENTED[represent] else None)


@pytest.mark.parametrize("client", SERVER)
def test_who_is_proven_and_not_represented_leads_nowhere(client: Mechanism) -> None:
    assert upstream_mechanism(client, means(None, proves=True), offered(*UPSTREAM)) is None


@pytest.mark.parametrize(
    ("client", "order"), [*PASSED_ON.items(), *((SCRAM_1, order) for order in REPRESENTED.values())]
)
def test_the_strongest_first(client: Mechanism, order: tuple[Mechanism, ...]) -> None:
    represent = next((way for way, found in REPRESENTED.items() if found is order), None)
    own = means(represent, proves=True) if client is SCRAM_1 else PASS_ON
    left = set(EVERYTHING)
    for mechanism in order:
        assert upstream_mechanism(client, own, offered(*left)) is mechanism
        left.discard(mechanism)
    assert upstream_mechanism(client, own, offered(*left)) is None


@given(st.sampled_from(list(SERVER)), st.frozensets(st.sampled_from(UPSTREAM)), st.sampled_from([None, *Represent]))
def test_what_could_be_overheard_never_crosses_an_unguarded_leg(
    client: Mechanism, takes: frozenset[Mechanism], represent: Represent | None
) -> None:
    for own in (PASS_ON, means(represent, proves=True)):
        assert upstream_mechanism(client, own, offered(*takes, guarded=False)) not in HANDED_OVER


@given(st.sampled_from(list(SERVER)), st.frozensets(st.sampled_from(UPSTREAM)), st.sampled_from([None, *Represent]))
def test_only_what_is_offered_is_chosen(
    client: Mechanism, takes: frozenset[Mechanism], represent: Represent | None
) -> None:
    for own in (PASS_ON, means(represent, proves=True), means(relay=(client,))):
        chosen = upstream_mechanism(client, own, offered(*takes))
        assert chosen is None or chosen in takes


def test_an_upstream_can_be_restricted() -> None:
    assert upstream_mechanism(PLAIN, means(mechanisms=(LOGIN, CRAM)), offered(*UPSTREAM)) is CRAM
    assert upstream_mechanism(PLAIN, means(mechanisms=(XOAUTH2,)), offered(*UPSTREAM)) is None


def test_an_identity_to_act_as_needs_a_mechanism_that_can_say_it() -> None:
    assert upstream_mechanism(PLAIN, PASS_ON, offered(CRAM, LOGIN), acting=True) is None
    assert upstream_mechanism(PLAIN, PASS_ON, offered(CRAM, LOGIN, PLAIN), acting=True) is PLAIN
    assert upstream_mechanism(PLAIN, PASS_ON, offered(CRAM, SCRAM_1, PLAIN), acting=True) is SCRAM_1


@pytest.mark.parametrize("client", [CRAM, SCRAM_1, SCRAM_256])
def test_a_relayed_mechanism_is_the_same_on_both_legs(client: Mechanism) -> None:
    own = means(relay=(client,))
    assert upstream_mechanism(client, own, offered(*UPSTREAM)) is client
    assert upstream_mechanism(client, own, offered(*(EVERYTHING - {client}))) is None
    assert upstream_mechanism(client, own, offered(*UPSTREAM, guarded=False)) is client


def test_scram_is_not_relayed_to_a_server_that_could_bind_it() -> None:
    assert upstream_mechanism(SCRAM_256, means(relay=(SCRAM_256,)), offered(*UPSTREAM, binds=True)) is None
    assert upstream_mechanism(CRAM, means(relay=(CRAM,)), offered(*UPSTREAM, binds=True)) is CRAM
    assert upstream_mechanism(PLAIN, PASS_ON, offered(*UPSTREAM, binds=True)) is SCRAM_256  # our own, unbound


def test_every_mechanism_has_both_roles() -> None:
    assert set(SERVER) | {XCLIENT, Mechanism.OTHER} == set(Mechanism)
    assert set(BY_PASSWORD) | set(BY_TOKEN) | {EXTERNAL} == set(SERVER)


@pytest.mark.parametrize(
    ("template", "login", "name"),
    [
        ("{login}", "bob@example.com", "bob@example.com"),
        ("{local}", "bob@example.com", "bob"),
        ("{local}", "bob", "bob"),
        ("{domain}\\{local}", "bob@example.com", "example.com\\bob"),
        ("{local}@new.example", "bob@example.com", "bob@new.example"),
        ("{local}", "a@b@example.com", "a@b"),
        ("x-{login}", "{local}", "x-{local}"),  # what a login says is no template
        ("{login}", "", ""),
        ("{domain}", "bob", ""),
    ],
)
def test_names_by_a_template(template: str, login: str, name: str) -> None:
    assert Naming(template).upstream_name(login) == name


def test_names_by_a_table_come_first() -> None:
    naming = Naming("{local}", {"bob@example.com": "robert"})
    assert naming.upstream_name("bob@example.com") == "robert"
    assert naming.upstream_name("eve@example.com") == "eve"
