"""Replies stay in the order of the commands."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.session.owed import Owed
from gatepost.wire.commands import Verb


def test_our_own_replies_wait_behind_a_hole() -> None:
    owed = Owed()
    owed.reply(b"1")
    owed.hole(Verb.MAIL)
    owed.reply(b"3")
    owed.hole(Verb.RCPT)
    assert (owed.take(), owed.awaited) == (b"1", Verb.MAIL)
    owed.fill(b"2")
    assert (owed.take(), owed.awaited) == (b"23", Verb.RCPT)
    owed.fill(b"4")
    assert (owed.take(), owed.awaited) == (b"4", None)


def test_what_stands_behind_a_lost_answer_is_forgotten() -> None:
    owed = Owed()
    owed.reply(b"1")
    owed.hole(Verb.MAIL)
    owed.reply(b"3")
    owed.hole(Verb.RCPT)
    owed.reply(b"5")
    owed.abandon()
    assert owed.awaited is None
    owed.reply(b"last")
    assert owed.take() == b"1last"


def test_it_knows_which_verbs_are_unanswered() -> None:
    owed = Owed()
    owed.hole(Verb.MAIL)
    owed.hole(Verb.RSET)
    assert owed.awaits(Verb.RSET)
    assert not owed.awaits(Verb.RCPT)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_any_mixture_comes_out_in_order(own: list[bool], every: int) -> None:
    owed, out, filled = Owed(), b"", 0
    for number, mine in enumerate(own):
        text = b"%d " % number
        if mine:
            owed.reply(text)
        else:
            owed.hole(Verb.NOOP)
        if number % every == 0:
            out += owed.take()
    for number, mine in enumerate(own):
        if not mine:
            owed.fill(b"%d " % number)
            filled += 1
            out += owed.take()
    out += owed.take()
    assert out == b"".join(b"%d " % number for number in range(len(own)))
