"""Replies owed to the client, in the order of its commands (RFC 2920 section 3.1).

Each command leaves either a reply of our own or a hole, which the upstream's next reply fills. Replies leave from the
front, never past a hole.
"""

from __future__ import annotations

from collections import deque

from gatepost.wire.commands import Verb


class Owed:
    __slots__ = ("_holes", "_ready", "sent")

    def __init__(self) -> None:
        self.sent = [0, 0, 0, 0]  # 2yz, 3yz, 4yz, 5yz
        self._ready: list[bytes] = []
        self._holes: deque[tuple[Verb, list[bytes]]] = deque()  # each with the replies that stand behind it

    def __len__(self) -> int:
        """Replies that the upstream owes."""
        return len(self._holes)

    def reply(self, raw: bytes) -> None:
        """A reply of our own to the last command."""
        (self._holes[-1][1] if self._holes else self._ready).append(raw)

    def hole(self, verb: Verb) -> None:
        """The last command was relayed; the upstream will answer it."""
        self._holes.append((verb, []))

    @property
    def awaited(self) -> Verb | None:
        """The verb that the upstream's next reply answers."""
        return self._holes[0][0] if self._holes else None

    def awaits(self, verb: Verb) -> bool:
        """Whether any relayed `verb` is unanswered."""
        return any(hole is verb for hole, _ in self._holes)

    def fill(self, raw: bytes) -> None:
        """The upstream answered the oldest relayed command."""
        self._ready.append(raw)
        self._ready += self._holes.popleft()[1]

    def abandon(self) -> None:
        """No answer will come: forget the first hole and all behind it, since replies must not change places."""
        self._holes.clear()

    def take(self) -> bytes:
        """Everything that is to be sent now."""
        for reply in self._ready:
            self.sent[reply[0] - 0x32] += 1  # "2"
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def drop(self) -> None:
        """Nothing will be sent any more."""
        self._ready.clear()
        self._holes.clear()
