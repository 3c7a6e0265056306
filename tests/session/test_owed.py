"""Replies stay in the order of the commands."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.session.owed import Owed
from gatepost.wire.commands import Verb


def test_our_own_replies_wait_behind_a_hole() -> None:
    owed = Owed()
    owed.reply(b"21")
    owed.hole(Verb.MAIL)
    owed.reply(b"23")
    owed.hole(Verb.RCPT)
    assert (owed.take(), owed.awaited) == (b"21", Verb.MAIL)
    owed.fill(b"22")
    assert (owed.take(), owed.awaited) == (b"2223", Verb.RCPT)
    owed.fill(b"24")
    assert (owed.take(), owed.awaited) == (b"24", None)


def test_what_stands_behind_a_lost_answer_is_forgotten() -> None:
    owed = Owed()
    owed.reply(b"21")
    owed.hole(Verb.MAIL)
    owed.reply(b"23")
    owed.hole(Verb.RCPT)
    owed.reply(b"25")
    owed.abandon()
    assert owed.awaited is None
    owed.reply(b"2last")
    assert owed.take() == b"212last"


def test_what_was_sent_is_counted_by_the_first_digit_and_what_was_dropped_is_not() -> None:
    owed = Owed()
    for raw in (b"220 a\r\n", b"250-b\r\n250 c\r\n", b"354 d\r\n", b"550 e\r\n"):
        owed.reply(raw)
    owed.take()
    owed.reply(b"451 f\r\n")
    owed.hole(Verb.MAIL)
    owed.drop()
    assert (owed.take(), owed.awaited) == (b"", None)
    assert owed.sent == [2, 1, 0, 1]


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
        text = b"2%d " % number
        if mine:
            owed.reply(text)
        else:
            owed.hole(Verb.NOOP)
        if number % every == 0:
            out += owed.take()
    for number, mine in enumerate(own):
        if not mine:
            owed.fill(b"2%d " % number)
            filled += 1
            out += owed.take()
    out += owed.take()
    assert out == b"".join(b"2%d " % number for number in range(len(own)))
