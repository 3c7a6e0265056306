"""The page of the mechanisms: fresh, and in every cell what the plan says."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError

from gatepost.facts import Mechanism
from gatepost.sasl.plan import PASS_ON, SERVER, Means, Offered, upstream_mechanism
from gatepost.sasl.reference import ALL, CHALLENGES, CLIENTS, UPSTREAMS, WORKING, Cell, Reason, Way, render, why_not
from gatepost.settings import Address, Represent, UpstreamSettings, UpstreamTls
from gatepost.settings.ways import HANDED_OVER

PAGE = Path(__file__).parents[2] / "docs" / "mechanisms.md"
PROVING = replace(PASS_ON.ways, users=True, verify_passwords=True, tokens=True, client_ca=True)
REPRESENT = {Way(represent.value): represent for represent in Represent}


def tables() -> dict[str, list[list[str]]]:
    """The rows of the page's tables, without heads, by the title above each."""
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("|"):
            found.setdefault(title, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return {title: rows[2:] for title, rows in found.items()}


def shown_to_work() -> Iterator[Cell]:
    for client, *cells in tables()["The matrix"]:
        for upstream, cell in zip(UPSTREAMS, cells, strict=True):
            for way in cell.split(", "):
                yield Mechanism(client), upstream, Way(way)


def shown_to_be_impossible() -> Iterator[tuple[Cell, Reason]]:
    for way, clients, upstreams, reason in tables()["What is impossible, and why"]:
        for client, upstream in product(listed(clients, CLIENTS), listed(upstreams, UPSTREAMS)):
            yield (client, upstream, Way(way)), Reason(reason)


def listed(cell: str, everything: tuple[Mechanism, ...]) -> tuple[Mechanism, ...]:
    return everything if cell == "all" else tuple(map(Mechanism, cell.split(", ")))


def leads(client: Mechanism, upstream: Mechanism, way: Way) -> bool:
    """What the plan says, with the settings that this way takes, for an upstream that offers one mechanism."""
    if way is Way.PASSED_ON:
        means = PASS_ON
    elif way is Way.RELAYED:
        means = Means(replace(PASS_ON.ways, relay=tuple({client} & set(CHALLENGES))))
        if not means.relays(client):
            return False
    else:
        means = Means(replace(PROVING, represent=REPRESENT[way]))
    offered = Offered(frozenset({upstream}), binds=False, guarded=True)
    return upstream_mechanism(client, means, offered) is upstream


def test_the_reference_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "python -m gatepost.sasl.reference > docs/mechanisms.md"


def test_every_mechanism_of_either_leg_and_every_way_is_in_the_matrix() -> None:
    assert set(CLIENTS) == set(SERVER)
    assert set(UPSTREAMS) == set(Mechanism) - {Mechanism.OTHER}
    assert set(Way) == {Way.PASSED_ON, Way.RELAYED, *REPRESENT}
    assert len(set(ALL)) == len(ALL) == len(CLIENTS) * len(UPSTREAMS) * len(Way)


@pytest.mark.parametrize("way", Way)
def test_the_page_says_that_it_works_where_the_plan_leads_there(way: Way) -> None:
    assert {cell for cell in shown_to_work() if cell[2] is way} == {
        cell for cell in ALL if cell[2] is way and leads(*cell)
    }


def test_every_cell_of_the_page_either_works_or_is_impossible_for_one_reason() -> None:
    told = Counter([*shown_to_work(), *(cell for cell, _ in shown_to_be_impossible())])
    assert told == Counter(ALL)


def test_what_works_is_what_the_tests_end_to_end_go_through() -> None:
    assert set(shown_to_work()) == set(WORKING)


@pytest.mark.parametrize("cell", ALL)
def test_there_is_a_reason_exactly_where_there_is_no_way(cell: Cell) -> None:
    assert (why_not(*cell) is None) is leads(*cell)


def test_every_reason_is_needed_and_the_page_gives_it_where_it_holds() -> None:
    given = dict(shown_to_be_impossible())
    assert given == {cell: reason for cell in ALL if (reason := why_not(*cell)) is not None}
    assert set(given.values()) == set(Reason)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ((Mechanism.SCRAM_SHA_256, Mechanism.PLAIN, Way.PASSED_ON), Reason.NOTHING_SHOWN),
        ((Mechanism.EXTERNAL, Mechanism.EXTERNAL, Way.PASSED_ON), Reason.NOTHING_SHOWN),
        ((Mechanism.XOAUTH2, Mechanism.PLAIN, Way.PASSED_ON), Reason.TAKES_PASSWORD),
        ((Mechanism.PLAIN, Mechanism.XOAUTH2, Way.PASSED_ON), Reason.TAKES_TOKEN),
        ((Mechanism.PLAIN, Mechanism.PLAIN, Way.RELAYED), Reason.NO_CHALLENGE),
        ((Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256, Way.RELAYED), Reason.UNCHANGED),
        ((Mechanism.PLAIN, Mechanism.LOGIN, Way.SERVICE), Reason.CANNOT_ACT),
        ((Mechanism.PLAIN, Mechanism.EXTERNAL, Way.SERVICE), Reason.TAKES_CERTIFICATE),
        ((Mechanism.PLAIN, Mechanism.XCLIENT, Way.SECRET), Reason.TAKES_WORD),
    ],
)
def test_reasons_by_hand(cell: Cell, reason: Reason) -> None:
    assert why_not(*cell) is reason


def test_the_settings_let_challenge_mechanisms_alone_be_relayed() -> None:
    behind = {"address": Address("127.0.0.1", 25), "tls": UpstreamTls.NEVER}
    for mechanism in CLIENTS:
        if mechanism in CHALLENGES:
            assert UpstreamSettings.model_validate(behind | {"relay": [mechanism.value]}).relay == (mechanism,)
        else:
            with pytest.raises(ValidationError):
                UpstreamSettings.model_validate(behind | {"relay": [mechanism.value]})


def test_the_page_names_what_must_be_guarded_and_links_to_pages_that_are_there() -> None:
    text = PAGE.read_text()
    guarded = text.partition("## What must be guarded")[2].split("hand over")[0]
    assert set(map(Mechanism, guarded.strip().replace(" and ", ", ").split(", "))) == HANDED_OVER
    for page in ("settings.md", "replies.md", "users.md", "decisions/0010-no-channel-binding.md"):
        assert f"]({page})" in text
        assert (PAGE.parent / page).exists()
