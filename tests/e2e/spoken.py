"""What a process writes, line by line as it comes, for tests that wait for a line instead of for a while."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

PATIENCE_SECONDS = 30.0  # before something is called hanging

T = TypeVar("T")


class Spoken:
    """All lines of a stream. A thread reads them until the process closes its end."""

    def __init__(self, stream: Iterable[str]) -> None:
        self._lines: list[str] = []
        self._closed = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,))
        self._reader.start()

    def _read(self, stream: Iterable[str]) -> None:
        for line in stream:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def lines(self, since: int = 0) -> list[str]:
        with self._news:
            return self._lines[since:]

    def __len__(self) -> int:
        return len(self.lines())

    def first(self, found: Callable[[str], T | None], since: int = 0, *, skip: int = 0) -> T:
        """What `found` makes of the first line that it makes something of, less those to skip; waits for that line."""
        position, left = since, skip
        with self._news:
            while True:
                for line in self._lines[position:]:
                    if (made := found(line)) is not None:
                        if not left:
                            return made
                        left -= 1
                position = max(position, len(self._lines))
                if self._closed or not self._news.wait(PATIENCE_SECONDS):
                    raise AssertionError("it never came; what was said:\n" + "\n".join(self._lines[since:]))

    def expect(self, pattern: str, since: int = 0, *, skip: int = 0) -> re.Match[str]:
        """Wait for a line that matches."""
        return self.first(re.compile(pattern).search, since, skip=skip)

    def join(self) -> None:
        """The process has ended: read what is left."""
        self._reader.join(PATIENCE_SECONDS)
        assert not self._reader.is_alive()
