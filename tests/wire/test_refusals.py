"""Every refusal has a reply of the right form."""

import re

import pytest

from gatepost.facts import Refusal
from gatepost.wire.refusals import REFUSALS, TABLE, code

CLOSING = {refusal for refusal in Refusal if TABLE[refusal].startswith(b"421")}


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(Refusal) == set(REFUSALS)


@pytest.mark.parametrize("refusal", Refusal)
def test_code_and_enhanced_code_agree(refusal: Refusal) -> None:
    """RFC 2034 section 4: the class of the enhanced code is the first digit of the reply's."""
    matched = re.fullmatch(rb"([45])\d\d ([45])\.\d{1,2}\.\d{1,2} [ -~]+\r\n", REFUSALS[refusal])
    assert matched
    assert matched[1] == matched[2]
    assert len(REFUSALS[refusal]) <= 512
    assert code(refusal) == int(REFUSALS[refusal][:3])


def test_what_closes_says_so_with_421() -> None:
    assert {
        Refusal.TOO_MANY_ERRORS,
        Refusal.TOO_MANY_FAILURES,
        Refusal.UPSTREAM_UNREACHABLE,
        Refusal.DRAINING,
        Refusal.CLIENT_TIMED_OUT,
        Refusal.INTERNAL_FAULT,
    } <= CLOSING


def test_trouble_behind_is_never_the_clients_fault() -> None:
    for refusal in (
        Refusal.AUTH_UNAVAILABLE,
        Refusal.UPSTREAM_LOST,
        Refusal.UPSTREAM_UNREACHABLE_NOW,
        Refusal.UPSTREAM_GARBLED,
        Refusal.MESSAGE_UNSURE,
    ):
        assert code(refusal) < 500
