"""Where DATA ends, and what may leave it.

The model below reads the octets one by one and knows nothing of chunks; the scanner must say the same for every way of
cutting the stream. And whatever the model says: no server, however careless, may find an end before the end.
"""

import re
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.body import END, DataScanner

ALPHABET = (b"\r", b"\n", b".", b"a")
OCTETS = st.lists(st.sampled_from(ALPHABET), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(1, 39), max_size=6)

ODD = [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\r\r", b"\n\r\n"]
# What a careless server takes for an end: a dot between any two line ends.
CARELESS_END = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")

# Strict: only CRLF ends a line. The states: at a line's beginning; in its text; behind a lone CR or LF; behind the dot
# that a line begins with; behind a CR that the next octet explains; the same behind such a dot; behind the end.
# Each step: (state, octet) -> what leaves, and the next state.
STEPS = {
    ("line", b"\r"): (b"", "cr"),
    ("line", b"\n"): (b"\r\n", "lone"),
    ("line", b"."): (b".", "dot"),
    ("line", b"a"): (b"a", "text"),
    ("text", b"\r"): (b"", "cr"),
    ("text", b"\n"): (b"\r\n", "lone"),
    ("text", b"."): (b".", "text"),
    ("text", b"a"): (b"a", "text"),
    ("lone", b"\r"): (b"", "cr"),
    ("lone", b"\n"): (b"\r\n", "lone"),
    ("lone", b"."): (b"..", "text"),  # it was inside a line: stuffed, now that it begins one
    ("lone", b"a"): (b"a", "text"),
    ("dot", b"\r"): (b"", "dot cr"),
    ("dot", b"\n"): (b".\r\n", "lone"),  # stuffed, or it would be the end
    ("dot", b"."): (b".", "text"),
    ("dot", b"a"): (b"a", "text"),
    ("cr", b"\r"): (b"\r\n", "cr"),
    ("cr", b"\n"): (b"\r\n", "line"),
    ("cr", b"."): (b"\r\n..", "text"),
    ("cr", b"a"): (b"\r\na", "text"),
    ("dot cr", b"\r"): (b".\r\n", "cr"),
    ("dot cr", b"\n"): (b"\r\n", "ended"),
    ("dot cr", b"."): (b".\r\n..", "text"),
    ("dot cr", b"a"): (b".\r\na", "text"),
}


def model(stream: bytes) -> tuple[bytes, int | None]:
    """What leaves, and how many octets there are up to the end; None: no end."""
    out, state = b"", "line"
    for position in range(len(stream)):
        piece, state = STEPS[state, stream[position : position + 1]]
        out += piece
        if state == "ended":
            return out, position + 1
    return out, None


def scan(chunks: list[bytes]) -> tuple[bytes, bytes, DataScanner]:
    """What leaves, and what is left behind the end. After each chunk it is known how much was taken."""
    scanner = DataScanner()
    out, behind, fed = b"", b"", 0
    for chunk in chunks:
        if scanner.ended:
            behind += chunk
            continue
        piece, behind = scanner.feed(chunk)
        out += piece
        fed += len(chunk)
        assert scanner.taken == fed - len(behind)
        assert scanner.ended or not behind
    return out, behind, scanner


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(mark for mark in cuts if mark < len(stream))})
    return [stream[start:stop] for start, stop in pairwise(marks)]


def check(chunks: list[bytes]) -> None:
    stream = b"".join(chunks)
    out, behind, scanner = scan(chunks)
    expected, end = model(stream)
    assert (out, scanner.ended) == (expected, end is not None)
    assert scanner.taken == (len(stream) if end is None else end)
    assert behind == (b"" if end is None else stream[end:])
    check_carefully_made(out, ended=scanner.ended)


def check_carefully_made(out: bytes, *, ended: bool) -> None:
    """No CR and no LF stands alone, and the first end that anybody could find is the end."""
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", out)
    stream = b"\r\n" + out  # DATA begins at a line's beginning
    found = CARELESS_END.search(stream)
    assert (found.span() if found else None) == ((len(stream) - len(END), len(stream)) if ended else None)


@given(OCTETS, CUTS)
def test_however_it_is_cut_it_is_what_the_model_says(stream: bytes, cuts: list[int]) -> None:
    check(cut(stream, cuts))


@pytest.mark.parametrize("length", range(1, 6))
def test_every_short_stream_cut_in_every_way(length: int) -> None:
    places = range(1, length)
    ways = [list(places_cut) for n in range(length) for places_cut in combinations(places, n)]
    for octets in product(ALPHABET, repeat=length):
        for cuts in ways:
            check(cut(b"".join(octets), cuts))


@pytest.mark.parametrize("length", [6, 7])
def test_every_longer_stream_whole_and_byte_by_byte(length: int) -> None:
    for octets in product(ALPHABET, repeat=length):
        check([b"".join(octets)])
        check(list(octets))


@pytest.mark.parametrize("before", [*ODD, b"a", b""])
@pytest.mark.parametrize("after", [*ODD, b"\ra", b"\r."])
def test_a_lone_dot_between_odd_line_ends_hides_no_transaction(before: bytes, after: bytes) -> None:
    """SMTP smuggling: of two messages in one, a careless server would see two. At every split."""
    hidden = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<you@example.net>\r\nDATA\r\nhidden"
    visible = b"Subject: x\r\n\r\nvisible"
    stream = visible + before + b"." + after + hidden + END + b"NOOP\r\n"
    real = END in visible + before + b"." + after
    begin, stop = len(visible) - 2, len(visible + before + after) + 4
    for cuts in [[], *([mark] for mark in range(begin, stop)), list(range(begin, stop))]:
        out, behind, scanner = scan(cut(stream, cuts))
        assert scanner.ended
        check_carefully_made(out, ended=True)
        if real:
            assert behind == hidden + END + b"NOOP\r\n"  # that was the end, and what follows it are commands
        else:
            assert behind == b"NOOP\r\n"
            assert out.endswith(b"hidden" + END)


def test_clean_chunks_pass_as_the_same_objects() -> None:
    scanner = DataScanner()
    chunks = [
        b"Subject: x\r\n\r\n",
        b"..stuffed\r\n",
        "Gr\u00fc\u00dfe\r\n".encode(),
        b"half a li",
        b"ne\r\n",
        b"\0\xff",
    ]
    for chunk in [*chunks, b"x" * 65_536, b"\r\nlast\r\n.\r\n"]:
        assert scanner.feed(chunk)[0] is chunk
    assert scanner.ended
    assert not scanner.odd


def test_only_a_carriage_return_is_held_until_what_follows_came() -> None:
    scanner = DataScanner()
    assert scanner.feed(b"a\r") == (b"a", b"")
    assert scanner.feed(b"\nb") == (b"\r\nb", b"")
    assert not scanner.odd
    assert scanner.taken == 4


def test_a_stream_is_clean_again_behind_what_was_mended() -> None:
    scanner = DataScanner()
    assert scanner.feed(b"a\nb\r\n")[0] == b"a\r\nb\r\n"
    chunk = b"clean\r\n"
    assert scanner.feed(chunk)[0] is chunk
    assert scanner.odd  # of the message, so it stays


def test_an_empty_message_ends_at_once() -> None:
    out, behind, scanner = scan([b".\r\nQUIT\r\n"])
    assert (out, behind, scanner.taken) == (b".\r\n", b"QUIT\r\n", 3)


def test_what_follows_the_end_is_not_looked_at() -> None:
    out, behind, scanner = scan([b"a\r\n.\r\nb\nc\rd\r\n.\r\n"])
    assert (out, behind) == (b"a" + END, b"b\nc\rd" + END)
    assert not scanner.odd


@pytest.mark.parametrize("stream", [b"a\nb", b"a\rb", b"\n", b"\r\n\nb", b"\r\r\n", b"\r\n.\n", b"\n.\r\n", b"\ra"])
def test_lone_newlines_are_noticed(stream: bytes) -> None:
    assert scan([stream])[2].odd
    assert scan([stream[i : i + 1] for i in range(len(stream))])[2].odd


@pytest.mark.parametrize("stream", [b"a\r\nb", b"\r\n.\r\n", b"..\r\n", b"no newline", b"a\r", b"\r\n\r\n"])
def test_clean_streams_are_not(stream: bytes) -> None:
    assert not scan([stream])[2].odd
    assert not scan([stream[i : i + 1] for i in range(len(stream))])[2].odd
