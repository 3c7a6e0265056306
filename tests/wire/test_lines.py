"""The inbound buffer: lines, chunks and counted octets, however they arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.lines import Inbound, LineTooLong

LIMIT = 20
STREAM = b"EHLO me\r\n\r\nbare\nMAIL FROM:<a@b>\r\n" + b"x" * 50 + b"\r\nQUIT\r\nrest"
LINES: list[bytes | None] = [b"EHLO me\r\n", b"\r\n", b"bare\n", b"MAIL FROM:<a@b>\r\n", None, b"QUIT\r\n"]


def read(chunks: list[bytes]) -> tuple[list[bytes | None], bytes]:
    """Every line, None for one that was too long, and what is left."""
    inbound = Inbound()
    lines: list[bytes | None] = []
    for chunk in chunks:
        inbound.put(chunk)
        while True:
            try:
                line = inbound.line(LIMIT)
            except LineTooLong:
                lines.append(None)
                continue
            if line is None:
                break
            lines.append(line)
    return lines, inbound.chunk()


def test_whole() -> None:
    assert read([STREAM]) == (LINES, b"rest")


def test_byte_by_byte() -> None:
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == (LINES, b"rest")


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_at_every_split(at: int) -> None:
    assert read([STREAM[:at], STREAM[at:]]) == (LINES, b"rest")


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_nothing_is_lost_or_made_up(chunks: list[bytes]) -> None:
    lines, rest = read(chunks)
    stream = b"".join(chunks)
    whole = stream.split(b"\n")
    kept = [line for line in lines if line is not None]
    assert kept == [line + b"\n" for line in whole[:-1] if len(line) < LIMIT]
    if len(whole[-1]) <= LIMIT:
        assert rest == whole[-1]


def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    inbound = Inbound()
    inbound.put(b"x" * 21)
    with pytest.raises(LineTooLong):
        inbound.line(LIMIT)
    for _ in range(1000):
        inbound.put(b"x" * 100)
        assert inbound.line(LIMIT) is None
        assert len(inbound) == 0


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    inbound = Inbound()
    inbound.put(b"x" * 18 + b"\r\n")
    assert inbound.line(LIMIT) == b"x" * 18 + b"\r\n"


def test_a_chunk_passes_as_the_same_object() -> None:
    inbound = Inbound()
    data = b"a body\r\n" * 100
    inbound.put(data)
    assert inbound.chunk() is data
    assert inbound.chunk() == b""


def test_counted_octets_leave_the_rest() -> None:
    inbound = Inbound()
    inbound.put(b"abcdefQUIT\r\n")
    assert inbound.chunk(4) == b"abcd"
    assert inbound.chunk(2) == b"ef"
    assert inbound.peek(4) == b"QUIT"
    assert inbound.line(LIMIT) == b"QUIT\r\n"
    assert len(inbound) == 0


def test_what_is_put_back_comes_first() -> None:
    inbound = Inbound()
    inbound.put(b"body.NOOP\r\nQUIT\r\n")
    chunk = inbound.chunk()
    inbound.put_back(chunk[5:])
    assert [inbound.line(LIMIT), inbound.line(LIMIT)] == [b"NOOP\r\n", b"QUIT\r\n"]


def test_what_is_put_back_comes_before_what_was_not_taken() -> None:
    inbound = Inbound()
    inbound.put(b"body.NOOP\r\nQUIT\r\n")
    chunk = inbound.chunk(11)
    inbound.put_back(chunk[5:])
    inbound.put(b"RSET\r\n")
    assert [inbound.line(LIMIT) for _ in range(4)] == [b"NOOP\r\n", b"QUIT\r\n", b"RSET\r\n", None]
