"""What is known for some seconds, in Trio's time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

import trio

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """A bounded mapping whose entries end. Of too many, the one used longest ago is forgotten."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        value, until = self._entries.get(key, (None, 0.0))
        if value is None or until <= trio.current_time():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V, seconds: float) -> None:
        self._entries[key] = value, trio.current_time() + seconds
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)
