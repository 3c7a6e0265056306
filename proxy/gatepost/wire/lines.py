"""The inbound buffer of a leg: hands out lines, counted octets, or whatever is there.

Whoever reads decides what comes next (a line, a body, n octets): the buffer has no mode of its own, and it is the only
one, so that at STARTTLS "is anything buffered?" has one answer. Lines are bounded (RFC 5321 section 4.5.3.1.4; RFC 4954
section 4.3 for AUTH); of a line that is too long nothing is kept.
"""

from __future__ import annotations


class LineTooLong(Exception):
    """The line in the buffer passed the limit. It is dropped as it arrives; the next line is whole again."""


class Inbound:
    """What was received on a leg and not yet taken."""

    __slots__ = ("_data", "_dropping", "_position", "_searched")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0  # everything before it is taken
        self._searched = 0  # no LF between _position and here
        self._dropping = False  # inside a line that was too long

    def __len__(self) -> int:
        return len(self._data) - self._position

    def put(self, data: bytes) -> None:
        if self._data:
            self._data = self._data[self._position :] + data
            self._searched -= self._position
            self._position = 0
        else:
            self._data = data  # the same object: a body chunk passes through uncopied
        if self._dropping:
            self._drop()

    def line(self, limit: int) -> bytes | None:
        """The next line with its ending (LF, and the CR before it if there is one), or None: need more.

        Raises LineTooLong, once, as soon as more than `limit` octets came without an LF or as one line.
        """
        end = self._data.find(b"\n", self._searched) + 1
        if (end or len(self._data)) - self._position > limit:
            self._drop()
            raise LineTooLong
        if not end:
            self._searched = len(self._data)
            return None
        line = self._data[self._position : end]
        self._take(end)
        return line

    def chunk(self, most: int | None = None) -> bytes:
        """Everything that is there, or at most `most` octets of it; b"" when there is nothing."""
        start, stop = self._position, len(self._data)
        if most is not None and stop - start > most:
            stop = start + most
        data = self._data[start:stop]  # bytes slices of everything are the same object
        self._take(stop)
        return data

    def put_back(self, data: bytes) -> None:
        """Return the end of the chunk that was taken last."""
        self._data = data + self._data[self._position :]
        self._position = self._searched = 0

    def peek(self, octets: int) -> bytes:
        return self._data[self._position : self._position + octets]

    def _drop(self) -> None:
        """Take the rest of the line, or what is there of it: whoever peeks next sees a new line."""
        end = self._data.find(b"\n", self._position) + 1
        self._dropping = not end
        self._take(end or len(self._data))

    def _take(self, stop: int) -> None:
        if stop == len(self._data):
            self._data, stop = b"", 0
        self._position = self._searched = stop
