"""One task for what many wait for: asking costs once, and whoever gives up does not take it from the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from gatepost.backends.asking import NoAnswer
from gatepost.facts import BackendResult

K = TypeVar("K")
T = TypeVar("T")


class Flights(Generic[K, T]):
    """Work under way, by what it is for. It runs in the nursery, so it outlives the conversation that began it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[K, _Flight[T]] = {}

    async def join(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of the work that is under way for `key`, or of `work`, which then begins. Raises NoAnswer."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._nursery.start_soon(self._fly, key, flight, work)
        await flight.landed.wait()
        return flight.outcome()

    async def _fly(self, key: K, flight: _Flight[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            value = await work()
            flight.outcome = lambda: value
        except Exception as error:  # noqa: BLE001  a bug is told by the conversations that wait; the nursery lives on
            flight.failed = error
        finally:
            del self._flights[key]
            flight.landed.set()


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = trio.Event()
        self.failed: Exception = NoAnswer(BackendResult.TIMED_OUT)  # unless it comes to an end of its own
        self.outcome: Callable[[], T] = self._fail

    def _fail(self) -> T:
        if isinstance(self.failed, NoAnswer):
            raise NoAnswer(self.failed.result)  # each waiter's own, with its own traceback
        raise self.failed
