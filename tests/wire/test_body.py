"""Where DATA ends, and what may leave it.

The model below reads the octets one by one and knows nothing of chunks; the scanner must say the same for every way of
cutting the stream.
"""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.body import END, DataScanner

OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a"]), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(0, 40), max_size=6)


def model(stream: bytes) -> tuple[bytes, int | None]:
    """What leaves, and how many octets were read up to the end; None: no end. Strict: only CRLF ends a line."""
    end = (b"\r\n" + stream).find(END)
    message = stream if end < 0 else stream[: end + 1]  # up to the dot, without its CRLF
    out = bytearray()
    line_began = True  # strictly: at the beginning, or behind CRLF
    lone_before = False
    position = 0
    while position < len(message):
        octet = message[position : position + 1]
        rest = message[position + 1 :] if end < 0 else stream[position + 1 :]
        if octet == b"\r" and rest[:1] == b"\n":
            out += b"\r\n"
            line_began, lone_before, position = True, False, position + 2
            continue
        if octet == b"\r" and not rest:
            break  # held back until it is known what follows
        if octet in (b"\r", b"\n"):
            out += b"\r\n"
            line_began, lone_before = False, True
        elif (octet == b"." and lone_before) or (
            octet == b"."
            and line_began
            and (rest[:1] == b"\n" or (rest[:1] == b"\r" and rest[1:2] not in (b"", b"\n")))
        ):
            out += b".."
            line_began = lone_before = False
        else:
            out += octet
            line_began = lone_before = False
        position += 1
    if end < 0:
        return bytes(out), None
    return bytes(out) + b"\r\n", end + 3


def scan(chunks: list[bytes]) -> tuple[bytes, bytes, DataScanner]:
    """What leaves, and what is left behind the end."""
    scanner = DataScanner()
    out, behind = b"", b""
    for chunk in chunks:
        if scanner.ended:
            behind += chunk
            continue
        piece, behind = scanner.feed(chunk)
        out += piece
    return out, behind, scanner


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(mark for mark in cuts if mark < len(stream))})
    return [stream[start:stop] for start, stop in pairwise(marks)]


def settled(stream: bytes) -> bytes:
    """A stream whose last octets decide nothing later: the model and the scanner then have nothing held back."""
    return stream + b"a"


@given(OCTETS, CUTS)
def test_however_it_is_cut_it_is_what_the_model_says(stream: bytes, cuts: list[int]) -> None:
    stream = settled(stream)
    out, behind, scanner = scan(cut(stream, cuts))
    expected, end = model(stream)
    assert out == expected
    assert scanner.ended is (end is not None)
    if end is not None:
        assert scanner.taken == end
        assert behind == stream[end:]
    else:
        assert scanner.taken == len(stream)


@pytest.mark.parametrize("length", range(1, 7))
def test_every_short_stream_byte_by_byte_and_whole(length: int) -> None:
    for octets in product((b"\r", b"\n", b".", b"a"), repeat=length):
        stream = settled(b"".join(octets))
        whole, _, one = scan([stream])
        single, _, other = scan([stream[i : i + 1] for i in range(len(stream))])
        assert whole == single == model(stream)[0]
        assert (one.ended, one.taken) == (other.ended, other.taken)


# Ends that careless servers take: any of these line ends, a dot, any of them.
CARELESS = [before + b"." + after for before, after in product((b"\r\n", b"\n", b"\r"), repeat=2)]


@given(OCTETS, CUTS)
def test_no_careless_server_finds_an_end_before_the_end(stream: bytes, cuts: list[int]) -> None:
    out, _, scanner = scan(cut(settled(stream), cuts))
    inside = b"\r\n" + (out[: -len(b".\r\n")] if scanner.ended else out)
    for end in CARELESS:
        assert end not in inside


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"a"])
@pytest.mark.parametrize("after", [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\ra"])
def test_a_hidden_transaction_stays_inside(before: bytes, after: bytes) -> None:
    hidden = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<you@example.net>\r\nDATA\r\nhidden"
    stream = b"Subject: x\r\n\r\nvisible" + before + b"." + after + hidden + END + b"NOOP\r\n"
    out, behind, scanner = scan([stream])
    if (before + b"." + after).find(END) >= 0:
        assert behind.startswith(b"MAIL")  # that was a real end, and what follows is a command of its own
    else:
        assert scanner.ended
        assert behind == b"NOOP\r\n"
        assert out.count(END) == 1
        assert out.endswith(b"hidden" + END)


def test_clean_chunks_pass_as_the_same_objects() -> None:
    scanner = DataScanner()
    for chunk in (b"Subject: x\r\n\r\n", b"..stuffed\r\n", "Gr\u00fc\u00dfe\r\n".encode(), b"half a li", b"ne\r\n"):
        assert scanner.feed(chunk)[0] is chunk
    assert not scanner.odd


def test_a_carriage_return_is_held_until_its_line_feed_came() -> None:
    scanner = DataScanner()
    assert scanner.feed(b"a\r") == (b"a", b"")
    assert scanner.feed(b"\nb") == (b"\r\nb", b"")
    assert not scanner.odd
    assert scanner.taken == 4


def test_an_empty_message_ends_at_once() -> None:
    out, behind, scanner = scan([b".\r\nQUIT\r\n"])
    assert (out, behind, scanner.taken) == (b".\r\n", b"QUIT\r\n", 3)


@pytest.mark.parametrize("stream", [b"a\nb", b"a\rb", b"\n", b"\r\n\nb", b"\r\r\n"])
def test_lone_newlines_are_noticed(stream: bytes) -> None:
    assert scan([stream, b"a"])[2].odd


@pytest.mark.parametrize("stream", [b"a\r\nb", b"\r\n.\r\n", b"..\r\n", b"no newline"])
def test_clean_streams_are_not(stream: bytes) -> None:
    assert not scan([stream])[2].odd
