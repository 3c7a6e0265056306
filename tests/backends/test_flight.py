"""One task for what many wait for."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gatepost.backends.asking import NoAnswer
from gatepost.backends.flight import Flights
from gatepost.facts import BackendResult


class Work:
    """Waits to be let go, then answers or fails; counts how often it began."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.began = 0
        self.go = trio.Event()
        self._failure = failure

    async def __call__(self) -> int:
        self.began += 1
        await self.go.wait()
        if self._failure is not None:
            raise self._failure
        return self.began


async def outcomes(work: Work, keys: str) -> list[int | Exception]:
    """What those learn who wait together, one for each key."""
    learnt: list[int | Exception] = []

    async def wait(flights: Flights[str, int], key: str) -> None:
        try:
            learnt.append(await flights.join(key, work))
        except (NoAnswer, ZeroDivisionError) as error:
            learnt.append(error)

    async with trio.open_nursery() as nursery:
        flights: Flights[str, int] = Flights(nursery)
        for key in keys:
            nursery.start_soon(wait, flights, key)
        await wait_all_tasks_blocked()
        work.go.set()
    return learnt


async def test_those_who_wait_for_the_same_share_it() -> None:
    work = Work()
    assert await outcomes(work, "aaa") == [1, 1, 1]


async def test_those_who_wait_for_different_things_do_not() -> None:
    work = Work()
    assert len(await outcomes(work, "aab")) == 3
    assert work.began == 2


async def test_each_learns_why_there_is_no_answer() -> None:
    errors = await outcomes(Work(NoAnswer(BackendResult.GARBLED)), "aa")
    assert [error.result for error in errors if isinstance(error, NoAnswer)] == 2 * [BackendResult.GARBLED]
    assert errors[0] is not errors[1]


async def test_a_bug_is_told_to_those_who_wait_and_spares_the_nursery() -> None:
    errors = await outcomes(Work(ZeroDivisionError()), "aa")
    assert [type(error) for error in errors] == 2 * [ZeroDivisionError]


async def test_the_next_to_come_begins_anew() -> None:
    work = Work()
    work.go.set()
    async with trio.open_nursery() as nursery:
        flights: Flights[str, int] = Flights(nursery)
        assert await flights.join("a", work) == 1
        assert await flights.join("a", work) == 2


async def test_it_goes_on_when_the_first_gives_up() -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        flights: Flights[str, int] = Flights(nursery)
        with trio.move_on_after(0):
            await flights.join("a", work)
        nursery.start_soon(wait_and_let_go, work)
        assert await flights.join("a", work) == 1
    assert work.began == 1


async def wait_and_let_go(work: Work) -> None:
    await wait_all_tasks_blocked()
    work.go.set()


async def test_whoever_waits_when_it_is_stopped_has_no_answer() -> None:
    work = Work()

    async def stop(nursery: trio.Nursery) -> None:
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as outer, trio.open_nursery() as flying:
        flights: Flights[str, int] = Flights(flying)
        flying.start_soon(trio.sleep_forever)  # as a nursery that is in use
        outer.start_soon(stop, flying)
        outer.start_soon(expect_no_answer, flights, work)
    assert work.began == 1


async def expect_no_answer(flights: Flights[str, int], work: Work) -> None:
    with pytest.raises(NoAnswer) as caught:
        await flights.join("a", work)
    assert caught.value.result is BackendResult.TIMED_OUT
