"""What the shell asks of whoever observes it; `observe/observer.py` answers, and tests do."""

from __future__ import annotations

from typing import Protocol

from gatepost.facts import Fact, Peer, ProcessFact


class Recorder(Protocol):
    """Where one conversation's facts go."""

    def record(self, fact: Fact) -> None:
        """Must not raise, and must not wait."""


class Observer(Protocol):
    """Where all facts go."""

    def record(self, fact: ProcessFact) -> None:
        """What belongs to no conversation."""

    def conversation(self, listener: str, peer: Peer) -> Recorder:
        """A new conversation's own recorder."""
