"""What is remembered, and for how long."""

from __future__ import annotations

from trio.testing import MockClock

from gatepost.backends.cache import Cache


async def test_an_entry_ends_with_its_time(mock_clock: MockClock) -> None:
    cache: Cache[str, int] = Cache(2)
    cache.put("a", 0, 10)
    mock_clock.jump(9)
    assert cache.get("a") == 0
    mock_clock.jump(1)
    assert cache.get("a") is None


async def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    cache: Cache[str, int] = Cache(2)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert [cache.get(name) for name in "abc"] == [1, None, 3]


async def test_a_second_value_takes_the_place_of_the_first(mock_clock: MockClock) -> None:
    cache: Cache[str, int] = Cache(2)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    cache.put("a", 3, 20)
    mock_clock.jump(15)
    assert (cache.get("a"), cache.get("b")) == (3, None)


async def test_what_is_dropped_is_gone() -> None:
    cache: Cache[str, int] = Cache(2)
    cache.put("a", 1, 10)
    cache.drop("a")
    cache.drop("never there")
    assert cache.get("a") is None
