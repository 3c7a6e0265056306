"""What all backends share: failing without an answer, and telling how each asking went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from gatepost.facts import Backend, BackendAsked, BackendResult, ProcessFact

Record = Callable[[ProcessFact], None]


class NoAnswer(Exception):
    """A backend cannot answer. Never says more than why: its message is a value of BackendResult."""

    def __init__(self, result: BackendResult) -> None:
        super().__init__(result.value)
        self.result = result


class Meter:
    """Tells how one backend answers, and how long it takes."""

    def __init__(self, backend: Backend, record: Record) -> None:
        self._backend = backend
        self._record = record

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around asking. NoAnswer says why there is no answer; who is cancelled waited too long."""
        began, result = trio.current_time(), BackendResult.ANSWERED
        try:
            yield
        except NoAnswer as failed:
            result = failed.result
            raise
        except trio.Cancelled:
            result = BackendResult.TIMED_OUT
            raise
        finally:
            self._record(BackendAsked(self._backend, result, trio.current_time() - began))

    def cached(self) -> None:
        """The answer was known already."""
        self._record(BackendAsked(self._backend, BackendResult.CACHED, 0.0))
