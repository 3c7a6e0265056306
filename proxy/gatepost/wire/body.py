"""Message bodies: where DATA ends, and lone CR and LF in it (RFC 5321 sections 4.1.1.4, 4.5.2 and 2.3.8).

DATA ends at CRLF "." CRLF and nowhere else. Servers that also take LF "." LF, or any mix, let a sender hide a second
message inside the first (SMTP smuggling, CVE-2023-51764 and kin). So nothing that such a server could take for an end
may leave here inside a message: a CR or LF that stands alone becomes CRLF, and a dot that this puts at the beginning of
a line is doubled.

How it is read, strictly: only CRLF ends a line, so only a dot behind CRLF is at a line's beginning.

    original          becomes            because
    LF "."            CRLF ".."          the dot was inside a line: it is text, and text is stuffed
    CR "."            CRLF ".."          the same
    CRLF "." LF       CRLF ".." CRLF     not the end; without the second dot it would become one
    CRLF "." CR x     CRLF ".." CRLF x   the same

Theory of operation: a clean chunk passes as the object that came in; a CR at a chunk's end is held back until its LF is
seen, so that no rule ever needs to change what is already gone. `io.IncrementalNewlineDecoder` tells in one pass of C
code which kinds of line ends a chunk has.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

END = b"\r\n.\r\n"

_ODD = re.compile(
    rb"\r\n\.(?=\n|\r(?!\n))"  # a dot at the beginning of a line that a lone CR or LF ends
    rb"|\r\n"
    rb"|[\r\n]\.?"  # a lone CR or LF, with the dot that it would put at the beginning of a line
)

_DOT_LINE = re.compile(rb"\r\n\.(?:\n|\r(?!\n))")  # the first alternative, for where it straddles two chunks


def _mend(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if text.startswith(b"\r\n"):
        return text if text == b"\r\n" else b"\r\n.."
    return b"\r\n" if len(text) == 1 else b"\r\n.."


class DataScanner:
    """One message's DATA. Feed it chunks; it returns what to send on, and stops at the end.

    `ended`: the end was seen. `odd`: a lone CR or LF was seen. `taken`: octets taken so far, the end included.
    """

    __slots__ = ("_after_lone", "_held", "_newlines", "_tail", "ended", "odd", "taken")

    def __init__(self) -> None:
        self._newlines = IncrementalNewlineDecoder(None, translate=False)
        self._tail = b"\r\n"  # the last octets before the next chunk; DATA begins at a line's beginning
        self._held = b""  # a CR at the end of the last chunk, not passed on yet
        self._after_lone = False  # the last octet was a lone LF, passed on as CRLF
        self.ended = False
        self.odd = False
        self.taken = 0

    def feed(self, chunk: bytes) -> tuple[bytes, bytes]:
        """What to pass on, and what came behind the end (b"" unless `ended`)."""
        if self._held:
            chunk = self._held + chunk
            self.taken -= 1
        chunk, behind = self._split(chunk)
        self.taken += len(chunk)
        self._held = b"\r" if chunk[-1:] == b"\r" else b""
        if self._held:
            chunk = chunk[:-1]
        piece = self._clean(chunk)
        if len(chunk) >= len(END) - 1:
            self._tail = chunk[1 - len(END) :]
        else:
            self._tail = (self._tail + chunk)[1 - len(END) :]
        return piece, behind

    def _split(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Cut behind the first end, if there is one."""
        tail = self._tail
        stop = (tail + chunk[: len(END) - 1]).find(END)
        if stop >= 0:
            stop -= len(tail)
        elif chunk.rfind(END) >= 0:  # rfind finds out in half the time whether there is one at all
            stop = chunk.find(END)
        else:
            return chunk, b""
        stop += len(END)
        self.ended = True
        return chunk[:stop], chunk[stop:]

    def _clean(self, chunk: bytes) -> bytes:
        stuffing = b"." if self._after_lone and chunk[:1] == b"." else b""
        if chunk:
            self._after_lone = False
        self._newlines.decode(chunk.decode("latin-1"), final=True)
        if self._newlines.newlines in (None, "\r\n"):
            return stuffing + chunk if stuffing else chunk
        self._newlines.reset()
        self.odd = True
        if _DOT_LINE.search(self._tail[-3:] + chunk[:3]):
            stuffing = b"."
        self._after_lone = chunk[-1:] == b"\n" and chunk[-2:] != b"\r\n"
        return stuffing + _ODD.sub(_mend, chunk)
