"""Replies: what a server says (RFC 5321 section 4.2). Decoding the upstream's, encoding our own.

A reply is passed on as the octets it came in. The decoder is strict about what could hide something (a lone CR, NUL,
changing codes, endless replies) and lenient where old servers are merely sloppy (LF without CR, which is mended).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatepost.wire.lines import Inbound, LineTooLong

LINE_BYTES = 4096  # RFC 5321 section 4.5.3.1.5 says 512; old servers write long texts
REPLY_BYTES = 65_536


# RFC 5321 section 4.2.1; a code alone ("250") must be taken, too.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\0]*))?\r\n")


class Garbled(Exception):
    """What the upstream sent is no SMTP reply, or is over the limit. The message never quotes it."""


@dataclass(slots=True)  # not frozen, as `Command` is not
class Reply:
    """A whole reply. `raw` is ready to be sent; `lines` are the texts behind the codes."""

    code: int
    lines: tuple[bytes, ...]
    raw: bytes

    @property
    def positive(self) -> bool:
        """2yz and 3yz (RFC 5321 section 4.2.1)."""
        return self.raw[:1] in b"23"

    @property
    def completed(self) -> bool:
        """2yz: what was asked for is done."""
        return self.raw[:1] == b"2"

    @property
    def transient(self) -> bool:
        """4yz: try again later."""
        return self.raw[:1] == b"4"


class ReplyReader:
    """Takes replies from an upstream's inbound buffer."""

    __slots__ = ("_begun", "_bytes")

    def __init__(self) -> None:
        self._begun: list[re.Match[bytes]] = []  # the lines so far of a reply that is not whole
        self._bytes = 0

    def next(self, inbound: Inbound) -> Reply | None:
        """The next whole reply, or None: need more. Raises Garbled."""
        while True:
            try:
                line = inbound.line(LINE_BYTES)
            except LineTooLong:
                raise Garbled("a reply line is too long") from None
            if line is None:
                return None
            matched = _LINE.fullmatch(line if line.endswith(b"\r\n") else line[:-1] + b"\r\n")
            if not matched:
                raise Garbled("a reply line has no code, or CR or NUL in it")
            if matched[2] != b"-":
                return self._whole(matched)
            self._add(matched)

    def _add(self, line: re.Match[bytes]) -> None:
        if self._begun and line[1] != self._begun[0][1]:
            raise Garbled("a reply line has another code than the line before it")
        self._bytes += len(line[0])
        if self._bytes > REPLY_BYTES:
            raise Garbled("a reply is too long")
        self._begun.append(line)

    def _whole(self, last: re.Match[bytes]) -> Reply:
        if not self._begun:
            return Reply(int(last[1]), (last[3] or b"",), last[0])
        self._add(last)
        lines, self._begun, self._bytes = self._begun, [], 0
        return Reply(int(last[1]), tuple(line[3] or b"" for line in lines), b"".join(line[0] for line in lines))


def encode(code: int, *texts: bytes) -> bytes:
    """A reply of our own, ready to be sent."""
    last = len(texts) - 1
    return b"".join(b"%d%s%s\r\n" % (code, b" " if i == last else b"-", text) for i, text in enumerate(texts))
