"""What the demonstration prints, and whether everything that it looked at held.

Colour is used on a terminal only. Lines may come from several threads; each is written whole.
"""

from __future__ import annotations

from typing import TextIO

_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Screen:
    """Headings, what is said, verdicts. `failures` counts the verdicts that did not hold."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty()
        self.failures = 0

    def heading(self, text: str) -> None:
        self._write("\n" + self._paint(_BOLD, text))

    def say(self, text: str) -> None:
        self._write(f"  {text}")

    def said(self, line: str) -> None:
        """One line of a transcript."""
        self._write("    " + self._paint(_DIM, line))

    def verdict(self, text: str, *, held: bool) -> None:
        self.failures += not held
        self._write("  " + (self._paint(_GREEN, f"✓ {text}") if held else self._paint(_RED, f"✗ {text}")))

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()
