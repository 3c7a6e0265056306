"""The keys that a provider signs tokens with: JSON Web Key Sets (RFC 7517), fetched or from a file.

Fetched keys are renewed every hour whether or not anyone logs in, so a login waits for the provider only when its token
names a key that is not known. That is how a rotation is followed within one login. As anyone can name unknown keys,
the provider is asked at most three times in 30 seconds, for all conversations together, and not soon again about the
same one. Whoever then names yet another unknown key is told to come again, not that the token is bad, for nobody knows.
While the provider does not answer, the last good keys stay in use for a day: so long a key may be believed that was
withdrawn in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt
import trio

from gatepost.backends.asking import Meter, NoAnswer
from gatepost.backends.cache import Cache
from gatepost.backends.flight import Flights
from gatepost.backends.web import ANSWER_BYTES, Endpoint, parse_object
from gatepost.facts import BackendResult
from gatepost.settings.files import Look, look_at

RENEW_SECONDS = 3600.0
KEEP_SECONDS = 24 * 3600.0
ASKINGS, ASK_SECONDS = 3, 30.0  # so many in so long
MISSING_SECONDS = 15.0  # for so long a key that was asked for is not, so that one odd device leaves askings to others
MISSING = 100  # such keys
RETRY_SECONDS = 5.0  # after an asking without an answer
TRIED = 5  # keys for one token that names none: while keys are rotated, two or three fit
KEYS = 100  # in a set; more are no set of a provider that rotates now and then
RSA_BITS = range(2048, 16384 + 1)  # RFC 7518 section 3.3; OpenSSL's own limit

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_FITTING: Mapping[tuple[str, str], tuple[str, ...]] = {  # RFC 7518 section 3.1, RFC 8037 section 3.1
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and one algorithm that it may be used with."""

    id: str | None
    algorithm: str
    key: jwt.PyJWK


class Keys(Protocol):
    """Where keys come from."""

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token may be signed with, few or none. Raises NoAnswer."""


# --- reading ---------------------------------------------------------------------------------------------------------


def read_document(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is something else. Raises OSError."""
    with file.open("rb") as opened:
        return parse_object(opened.read(ANSWER_BYTES))


def read_keys(document: Mapping[str, Any], algorithms: Sequence[str]) -> list[Key]:
    """Those keys of a set that can verify signatures by these algorithms. Raises NoAnswer.

    RFC 7517 section 5: keys that are not understood are passed over. A set without any key of use is no answer, so that
    it does not take the place of a good one.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > KEYS:
        raise NoAnswer(BackendResult.GARBLED)
    keys = [key for entry in entries if isinstance(entry, dict) for key in _read_key(entry, algorithms)]
    if not keys:
        raise NoAnswer(BackendResult.GARBLED)
    return keys


def _read_key(entry: Mapping[str, Any], algorithms: Sequence[str]) -> list[Key]:
    if not _for_signatures(entry):
        return []
    public = {name: entry[name] for name in _PUBLIC if name in entry}
    if not all(isinstance(value, str) for value in public.values()):
        return []
    fitting = _FITTING.get((public.get("kty", ""), public.get("crv", "")), ())
    only = entry.get("alg")
    chosen = [name for name in algorithms if name in fitting and only in (None, name)]
    return [Key(entry.get("kid"), name, key) for name in chosen if (key := _build(public, name)) is not None]


def _for_signatures(entry: Mapping[str, Any]) -> bool:
    """RFC 7517 sections 4.2 and 4.3: a key may say what it is for."""
    operations = entry.get("key_ops")
    return entry.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )


def _build(public: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    try:
        key = jwt.PyJWK(public, algorithm)
        key.Algorithm.prepare_key(key.key)
    except Exception:  # noqa: BLE001  cryptography has errors of its own for odd keys
        return None
    good = public["kty"] != "RSA" or key.key.key_size in RSA_BITS
    return key if good else None


def choose(keys: Sequence[Key], key_id: str | None, algorithm: str) -> Sequence[Key]:
    """Those that fit. A token that names no key fits each; names "SHOULD" be distinct (RFC 7517 section 4.5)."""
    return [key for key in keys if key.algorithm == algorithm and key_id in (None, key.id)][:TRIED]


# --- where they come from --------------------------------------------------------------------------------------------


class FetchedKeys:
    """The keys at a URL. `keep_fresh` is to be run beside it."""

    def __init__(self, endpoint: Endpoint, algorithms: Sequence[str], meter: Meter, nursery: trio.Nursery) -> None:
        self._endpoint = endpoint
        self._algorithms = algorithms
        self._meter = meter
        self._flights: Flights[None, None] = Flights(nursery)
        self._keys: list[Key] = []
        self._good_until = self._retry_from = float("-inf")
        self._missing: Cache[tuple[str | None, str], bool] = Cache(MISSING)
        self._answered: deque[float] = deque(maxlen=ASKINGS)  # when
        self._trouble: BackendResult | None = None

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        keys = self._known(key_id, algorithm)
        if keys or self._missing.get((key_id, algorithm)):
            self._meter.cached()
            return keys
        await self._flights.join(None, self._renew)
        keys = self._known(key_id, algorithm)
        if not keys:
            self._missing.put((key_id, algorithm), value=True, seconds=MISSING_SECONDS)
        return keys

    async def keep_fresh(self) -> None:
        while True:
            with suppress(NoAnswer):
                await self._flights.join(None, self._renew)
            await trio.sleep(RENEW_SECONDS if self._trouble is None else RETRY_SECONDS)

    def _known(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        return choose(self._keys, key_id, algorithm) if trio.current_time() < self._good_until else []

    async def _renew(self) -> None:
        """Raises NoAnswer when the provider has none, had none just now, or was asked often enough."""
        now = trio.current_time()
        if self._trouble is not None and now < self._retry_from:
            self._meter.cached()
            raise NoAnswer(self._trouble)
        with self._meter.asking():
            if len(self._answered) == ASKINGS and now < self._answered[0] + ASK_SECONDS:
                raise NoAnswer(BackendResult.BUSY)
            await self._ask()

    async def _ask(self) -> None:
        try:
            self._keys = read_keys((await self._endpoint.get()).require(), self._algorithms)
        except NoAnswer as failed:
            self._trouble = failed.result
            self._retry_from = trio.current_time() + RETRY_SECONDS
            raise
        self._trouble = None
        self._answered.append(trio.current_time())
        self._good_until = trio.current_time() + KEEP_SECONDS


class FileKeys:
    """The keys in a file, which is read again when it has changed. While it is bad, the last good keys stay."""

    def __init__(self, file: Path, algorithms: Sequence[str], meter: Meter) -> None:
        self._file = file
        self._algorithms = algorithms
        self._meter = meter
        self._keys: list[Key] = []
        self._seen: Look | None = None

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        await trio.lowlevel.checkpoint()
        try:
            self._reload()
        except NoAnswer:
            if not self._keys:
                raise
        return choose(self._keys, key_id, algorithm)

    def _reload(self) -> None:
        """Raises NoAnswer. A few KiB, read in place: a thread would cost more."""
        seen = look_at(self._file)
        if seen is not None and seen == self._seen:
            self._meter.cached()
            return
        with self._meter.asking():
            document = self._read()
            if document is None:
                raise NoAnswer(BackendResult.GARBLED)
            self._keys = read_keys(document, self._algorithms)
        self._seen = seen

    def _read(self) -> dict[str, Any] | None:
        with suppress(OSError):
            return read_document(self._file)
        raise NoAnswer(BackendResult.UNREACHABLE)
