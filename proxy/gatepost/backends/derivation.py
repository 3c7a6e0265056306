"""SCRAM's SaltedPassword for the upstream leg: slow on purpose, so done in a thread when it is long, and remembered.

One user's password meets one salt and iteration count at an upstream, login after login. What is remembered is as good
as the password at that upstream, and lives in memory only. The key of an entry is a keyed hash: whoever sees the keys
cannot try passwords on them.
"""

from __future__ import annotations

import hmac
import secrets
from math import inf

import trio

from gatepost.backends.asking import Meter, NoAnswer, Record
from gatepost.backends.cache import Cache
from gatepost.facts import Backend, BackendResult
from gatepost.sasl.questions import DeriveKey
from gatepost.sasl.scram import salted_password
from gatepost.sasl.secret import Secret

REMEMBERED = 10_000  # about 3 MB
INLINE_ITERATIONS = 4096  # the least that RFC 7677 allows takes a millisecond; a thread costs a quarter more CPU
AT_ONCE = 2
WAITING = 64


class Derivation:
    """Answers DeriveKey."""

    def __init__(self, record: Record) -> None:
        self._meter = Meter(Backend.DERIVATION, record)
        self._threads = trio.CapacityLimiter(AT_ONCE)
        self._key = secrets.token_bytes(32)
        self._known: Cache[bytes, Secret] = Cache(REMEMBERED)

    async def derive(self, question: DeriveKey) -> Secret:
        """Raises NoAnswer."""
        key = self._entry(question)
        known = self._known.get(key)
        if known is not None:
            self._meter.cached()
            return known
        with self._meter.asking():
            if question.iterations <= INLINE_ITERATIONS:
                made = _derive(question)
            elif self._threads.statistics().tasks_waiting >= WAITING:
                raise NoAnswer(BackendResult.BUSY)
            else:
                made = await trio.to_thread.run_sync(_derive, question, limiter=self._threads, abandon_on_cancel=True)
        self._known.put(key, made, inf)
        return made

    def _entry(self, question: DeriveKey) -> bytes:
        salt = question.salt
        parts = b"%b %d %d " % (question.hash.value.encode(), question.iterations, len(salt))
        return hmac.digest(self._key, parts + salt + question.secret.reveal(), "sha256")


def _derive(question: DeriveKey) -> Secret:
    return salted_password(question.hash, question.secret, question.salt, question.iterations)
