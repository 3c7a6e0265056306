"""gatepost with nobody who counts or logs, for bench/observe.py to compare with."""

from __future__ import annotations

from gatepost.app import parts
from gatepost.cli.main import main
from gatepost.facts import Fact, Peer, ProcessFact
from gatepost.observe import observer


class Nobody(observer.Observer):
    def conversation(self, _listener: str, _peer: Peer) -> Nobody:  # type: ignore[override]  # it is its own recorder
        return self

    def record(self, fact: Fact | ProcessFact) -> None:
        pass


parts.Observer = Nobody  # type: ignore[misc]
main()
