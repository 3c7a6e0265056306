"""Replies of the upstream: passed on as they came, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.lines import Inbound
from gatepost.wire.replies import LINE_BYTES, REPLY_BYTES, Garbled, Reply, ReplyReader, encode

STREAM = b"220 hello\r\n250-first\r\n250-second\r\n250 last\r\n354\r\n550-\r\n550 \r\n"
REPLIES = [
    Reply(220, (b"hello",), b"220 hello\r\n"),
    Reply(250, (b"first", b"second", b"last"), b"250-first\r\n250-second\r\n250 last\r\n"),
    Reply(354, (b"",), b"354\r\n"),
    Reply(550, (b"", b""), b"550-\r\n550 \r\n"),
]


def read(chunks: list[bytes]) -> list[Reply]:
    inbound, reader = Inbound(), ReplyReader()
    replies = []
    for chunk in chunks:
        inbound.put(chunk)
        while (reply := reader.next(inbound)) is not None:
            replies.append(reply)
    return replies


def test_whole() -> None:
    assert read([STREAM]) == REPLIES


def test_byte_by_byte_with_trailing_bytes() -> None:
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))] + [b"25"]) == REPLIES


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_at_every_split(at: int) -> None:
    assert read([STREAM[:at], STREAM[at:]]) == REPLIES


def test_a_missing_carriage_return_is_mended() -> None:
    assert read([b"250-a\n250 b\n"]) == [Reply(250, (b"a", b"b"), b"250-a\r\n250 b\r\n")]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"hello\r\n",
        b"\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"250+ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"2\xb20 ok\r\n",
        b"250 a\rb\r\n",
        b"250 a\0b\r\n",
        b"250-a\r\n550 b\r\n",
        b"250 " + b"x" * LINE_BYTES + b"\r\n",
        b"x" * (LINE_BYTES + 1),
        b"250-x\r\n" * (REPLY_BYTES // 7 + 1),
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_rubbish_is_not_passed_on(rubbish: bytes) -> None:
    with pytest.raises(Garbled):
        read([rubbish])


def test_a_reply_of_the_longest_kind_is_taken_again_and_again() -> None:
    longest = b"250-" + b"x" * (LINE_BYTES - 6) + b"\r\n"
    whole = longest * (REPLY_BYTES // LINE_BYTES - 1) + longest.replace(b"-", b" ", 1)
    assert len(whole) == REPLY_BYTES
    assert [reply.raw for reply in read([whole] * 3)] == [whole] * 3


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_anything_is_replies_or_garbled(chunks: list[bytes]) -> None:
    try:
        replies = read(chunks)
    except Garbled:
        return
    for reply in replies:
        assert reply.raw.endswith(b"\r\n")
        assert 200 <= reply.code < 600


def test_kinds() -> None:
    ok, go_on, later, never = read([b"250 a\r\n354 b\r\n451 c\r\n550 d\r\n"])
    assert [reply.positive for reply in (ok, go_on, later, never)] == [True, True, False, False]
    assert [reply.transient for reply in (ok, go_on, later, never)] == [False, False, True, False]


def test_encode() -> None:
    assert encode(250, b"a") == b"250 a\r\n"
    assert encode(250, b"a", b"b", b"c") == b"250-a\r\n250-b\r\n250 c\r\n"
