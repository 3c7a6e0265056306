"""Every refusal has a reply of the right form, and the page says when it is given."""

import re
from pathlib import Path

import pytest

from gatepost.facts import Refusal
from gatepost.wire.reference import render
from gatepost.wire.refusals import REFUSALS, SECTIONS, TABLE

PAGE = Path(__file__).parents[2] / "docs" / "replies.md"
CLOSING = {refusal for refusal in Refusal if TABLE[refusal].code == 421}


def test_the_table_is_total_and_no_refusal_has_two_answers() -> None:
    assert set(TABLE) == set(Refusal) == set(REFUSALS)
    assert sum(map(len, SECTIONS.values())) == len(Refusal)


@pytest.mark.parametrize("refusal", Refusal)
def test_code_and_enhanced_code_agree(refusal: Refusal) -> None:
    """RFC 2034 section 4: the class of the enhanced code is the first digit of the reply's."""
    matched = re.fullmatch(rb"([45])\d\d ([45])\.\d{1,2}\.\d{1,2} [ -~]+\r\n", REFUSALS[refusal])
    assert matched
    assert matched[1] == matched[2]
    assert len(REFUSALS[refusal]) <= 512
    assert TABLE[refusal].code == int(REFUSALS[refusal][:3])


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
        assert TABLE[refusal].code < 500


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (Refusal.TLS_REQUIRED, b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
        (Refusal.AUTH_NEEDS_TLS, b"504 5.5.4 Encryption required for requested authentication mechanism\r\n"),
        (Refusal.AUTH_REQUIRED, b"530 5.7.0 Authentication required\r\n"),
        (Refusal.AUTH_UNAVAILABLE, b"454 4.7.0 Temporary authentication failure\r\n"),
        (Refusal.CREDENTIALS_INVALID, b"535 5.7.8 Authentication credentials invalid\r\n"),
        (Refusal.OUT_OF_SYNC, b"554 5.5.0 SMTP protocol synchronization error\r\n"),
    ],
)
def test_what_clients_decide_by_is_word_for_word(refusal: Refusal, line: bytes) -> None:
    assert REFUSALS[refusal] == line


def test_the_reference_page_is_fresh() -> None:
    assert PAGE.read_text() == render(), "python -m gatepost.wire.reference > docs/replies.md"


def test_the_reference_page_says_of_each_refusal_when_and_why() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(refusal.value for refusal in Refusal)
    for name, text, when, basis in rows:
        assert REFUSALS[Refusal(name)] == text.encode() + b"\r\n"
        assert when.strip()
        assert re.search(r"RFC \d{4}|Postfix|gatepost's own", basis), basis
