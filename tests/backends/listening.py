"""A recorder for tests of backends: what was told, and waiting for it."""

from __future__ import annotations

import trio

from gatepost.facts import Backend, BackendAsked, BackendResult, ProcessFact


class Told:
    """The facts that backends tell, oldest first."""

    def __init__(self) -> None:
        self.facts: list[BackendAsked] = []
        self._news = trio.Event()

    def record(self, fact: ProcessFact) -> None:
        assert isinstance(fact, BackendAsked)
        self.facts.append(fact)
        self._news.set()
        self._news = trio.Event()

    def results(self, backend: Backend) -> list[BackendResult]:
        return [fact.result for fact in self.facts if fact.backend is backend]

    async def wait_for(self, number: int) -> None:
        """Until so many facts were told, since the beginning."""
        while len(self.facts) < number:
            await self._news.wait()
