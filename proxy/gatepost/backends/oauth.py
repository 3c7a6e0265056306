"""Tokens that gatepost obtains for the upstream (RFC 6749): as the application, or by each user's refresh token."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import trio

from gatepost.backends.asking import Meter, NoAnswer, Record
from gatepost.backends.cache import Cache
from gatepost.backends.claims import presentable, read_number
from gatepost.backends.flight import Flights
from gatepost.backends.web import Client, Endpoint, Reply
from gatepost.facts import Backend, BackendResult
from gatepost.sasl.secret import Secret
from gatepost.settings import Grant, OauthSettings

TOKENS = 10_000  # kept at once; of more users, those wait for the provider who were longest away
UNTOLD_SECONDS = 300.0  # of a token whose end is not told: RFC 6749 section 5.1 only recommends `expires_in`
LONGEST_SECONDS = 24 * 3600.0  # whatever is told
EARLY_SECONDS, EARLY_PART = 60.0, 0.1  # a token is replaced before its end by the lesser of these
TROUBLE_SECONDS = 5.0  # trouble, or that there is no token, speaks for those who come shortly after
AFRESH_SECONDS = 30.0  # between two tokens given up because the upstream refused them
GRACE_SECONDS = 2.0  # a provider that answers at all has answered by then, and a stop is not held up for long
ASKINGS = 8  # at once: of many who wait for a dead provider, so many find out and the others are told

Form = dict[str, str | Secret]

_FOR_ALL = {401, 429}  # it is gatepost that is refused: unknown as a client, or asking too much


class RefreshTokens(Protocol):
    """The users' own refresh tokens."""

    async def find(self, user: str) -> Secret | None:
        """None: the user has none. Raises NoAnswer."""

    async def replace(self, user: str, new: Secret) -> None:
        """Keep a new one: the old one may not be good any more (RFC 6749 section 6). Raises NoAnswer."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the provider gave: a token, for how many seconds it can be kept, and perhaps a new refresh token."""

    token: Secret
    seconds: float
    refresh: Secret | None


class NotGranted(NoAnswer):
    """The provider gives no token by this grant, which says nothing of other users'.

    `revoked`: the refresh token is not good any more. `refresh`: a new one that came all the same.
    """

    def __init__(self, result: BackendResult, *, revoked: bool = False, refresh: Secret | None = None) -> None:
        super().__init__(result)
        self.revoked = revoked
        self.refresh = refresh


def read_grant(reply: Reply) -> Granted:
    """Raises NotGranted; another NoAnswer when gatepost itself is refused, or the provider is in trouble."""
    document = reply.document or {}
    error = document.get("error") if 400 <= reply.status < 500 else None  # noqa: PLR2004  RFC 6749 section 5.2
    if error == "invalid_grant":
        raise NotGranted(BackendResult.REFUSED, revoked=True)
    if reply.status >= 500:  # noqa: PLR2004  RFC 9110 section 15.6
        raise NoAnswer(BackendResult.UNREACHABLE)
    if error == "invalid_client" or reply.status in _FOR_ALL:
        raise NoAnswer(BackendResult.REFUSED)
    if isinstance(error, str) or reply.status == 403:  # noqa: PLR2004  interaction_required, invalid_scope ...
        raise NotGranted(BackendResult.REFUSED)
    if reply.status != 200:  # noqa: PLR2004  RFC 6749 section 5.1
        raise NotGranted(BackendResult.GARBLED)
    token, refresh = _access_token(document), _secret(document.get("refresh_token"))
    if token is None:
        raise NotGranted(BackendResult.GARBLED, refresh=refresh)
    return Granted(token, _keep_seconds(document.get("expires_in")), refresh)


def _access_token(document: dict[str, Any]) -> Secret | None:
    token, kind = _secret(document.get("access_token")), document.get("token_type")
    bearer = isinstance(kind, str) and kind.lower() == "bearer"  # RFC 6749 section 5.1: case insensitive
    return token if bearer and token is not None and presentable(token) else None


def _secret(value: object) -> Secret | None:
    """Both kinds of token are visible ASCII (appendices A.12 and A.17)."""
    good = isinstance(value, str) and value and value.isascii() and value.isprintable()
    return Secret(str(value).encode()) if good else None


def _keep_seconds(told: object) -> float:
    if isinstance(told, str) and re.fullmatch("[0-9]{1,10}", told):  # some providers write it as a text
        told = int(told)
    number = read_number(told)
    seconds = UNTOLD_SECONDS if number is None else min(number, LONGEST_SECONDS)
    return seconds - min(EARLY_SECONDS, EARLY_PART * seconds)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said of a user, for as long as the user's refresh token is this one.

    Without a token there is trouble, or the provider gives none.
    """

    refresh: Secret | None
    token: Secret | None = None
    trouble: BackendResult | None = None

    def outcome(self) -> Secret | None:
        """Raises NoAnswer."""
        if self.trouble is not None:
            raise NoAnswer(self.trouble)
        return self.token


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A refresh token that the store could not keep: in place of the one that it holds."""

    stored: Secret
    new: Secret


class TokenSource:
    """One token at a time for each user, or one for all users, obtained when it is needed.

    A token goes with the refresh token that it came by: when that is corrected in the store, or the user removed, it is
    used no more. What is asked by a refresh token is not cut off when gatepost stops, until GRACE_SECONDS after
    `hurry`: the answer may hold the only refresh token that is still good.
    """

    def __init__(
        self,
        settings: OauthSettings,
        endpoint: Endpoint,
        meter: Meter,
        *,
        client: Client,
        store: RefreshTokens,
        nursery: trio.Nursery,
    ) -> None:
        self._per_user = settings.grant is Grant.REFRESH_TOKEN
        self._scope: Form = {"scope": settings.scope} if settings.scope else {}
        self._client = client
        self._endpoint = endpoint
        self._meter = meter
        self._store = store
        self._flights: Flights[str, Secret | None] = Flights(nursery)
        self._askings = trio.CapacityLimiter(ASKINGS)
        self._answers: Cache[str, Answer] = Cache(TOKENS)
        self._given_up: Cache[str, float] = Cache(TOKENS)  # when
        self._trouble: Cache[None, BackendResult] = Cache(1)  # of all users
        self._unsaved: dict[str, Unsaved] = {}
        self._seen_through: set[trio.CancelScope] = set()
        self._until = math.inf

    async def obtain(self, user: str) -> Secret | None:
        """A token for this user; None: the provider gives none. Raises NoAnswer."""
        whose = user if self._per_user else ""
        refresh = await self._find_refresh(whose) if self._per_user else None
        if self._per_user and refresh is None:
            return None
        answer = self._answers.get(whose)
        if answer is not None and answer.refresh == refresh:
            self._meter.cached()
            return answer.outcome()
        return await self._flights.join(whose, partial(self._obtain, whose, refresh))

    def invalidate(self, user: str) -> None:
        """The upstream refused this user's token: the next login gets a fresh one.

        Not again within AFRESH_SECONDS: what is wrong is then not the token's age, and the provider is spared.
        """
        whose = user if self._per_user else ""
        if self._given_up.get(whose) is None:
            self._given_up.put(whose, trio.current_time(), AFRESH_SECONDS)
            self._answers.drop(whose)

    def hurry(self) -> None:
        """What is under way is cut off soon: gatepost stops."""
        self._until = trio.current_time() + GRACE_SECONDS
        for scope in self._seen_through:
            scope.deadline = self._until

    # --- asking ------------------------------------------------------------------------------------------------------

    async def _obtain(self, whose: str, refresh: Secret | None) -> Secret | None:
        async with self._askings:
            trouble = self._trouble.get(None)
            if trouble is not None:
                self._meter.cached()
                raise NoAnswer(trouble)
            return await self._ask(whose, refresh)

    async def _ask(self, whose: str, refresh: Secret | None) -> Secret | None:
        """Whatever the provider says of this user is remembered, so that a device that tries again does not hammer."""
        try:
            with self._shield(), self._meter.asking():
                granted = read_grant(await self._endpoint.post(self._form(refresh), self._client))
        except NotGranted as failed:
            kept = await self._keep(whose, refresh, failed.refresh)
            if failed.revoked:
                self._unsaved.pop(whose, None)
            answer, seconds = Answer(kept, trouble=None if failed.revoked else failed.result), TROUBLE_SECONDS
        except NoAnswer as failed:
            if failed.result is not BackendResult.GARBLED:
                self._trouble.put(None, failed.result, TROUBLE_SECONDS)
                raise
            answer, seconds = Answer(refresh, trouble=failed.result), TROUBLE_SECONDS
        else:
            kept = await self._keep(whose, refresh, granted.refresh)
            answer, seconds = Answer(kept, granted.token), granted.seconds
        self._answers.put(whose, answer, seconds)
        return answer.outcome()

    def _form(self, refresh: Secret | None) -> Form:
        if refresh is None:
            return {"grant_type": "client_credentials", **self._scope}
        return {"grant_type": "refresh_token", "refresh_token": refresh, **self._scope}

    @contextmanager
    def _shield(self) -> Iterator[None]:
        """Raises NoAnswer when the grace is over."""
        with trio.CancelScope(shield=self._per_user, deadline=self._until) as scope:
            self._seen_through.add(scope)
            try:
                yield
            finally:
                self._seen_through.remove(scope)
        if scope.cancelled_caught:
            raise NoAnswer(BackendResult.TIMED_OUT)

    # --- refresh tokens ----------------------------------------------------------------------------------------------

    async def _find_refresh(self, user: str) -> Secret | None:
        """The store's, unless there is a newer one that it could not keep; what is set by hand since counts more."""
        stored = await self._store.find(user)
        unsaved = self._unsaved.get(user)
        if unsaved is None:
            return stored
        if unsaved.stored == stored:
            return unsaved.new
        del self._unsaved[user]
        return stored

    async def _keep(self, user: str, used: Secret | None, new: Secret | None) -> Secret | None:
        """The refresh token from now on: the new one, which is written unless another was set by hand meanwhile."""
        if used is None or new is None or new == used:  # RFC 6749 section 4.4.3: an application should be given none
            return used
        before = self._unsaved.get(user)
        stored = before.stored if before else used
        self._unsaved[user] = Unsaved(stored, new)
        with trio.CancelScope(shield=True), suppress(NoAnswer):
            if await self._store.find(user) == stored:
                await self._store.replace(user, new)
            self._unsaved.pop(user, None)
        return new


@asynccontextmanager
async def token_source(settings: OauthSettings, record: Record, store: RefreshTokens) -> AsyncIterator[TokenSource]:
    """The source that the settings ask for, while it is entered; `store` is asked for refresh tokens only.

    Raises ValueError for settings that cannot be used, and OSError for files that cannot be read.
    """
    client = Client.load(settings.client_id, settings.client_secret_file)
    async with Endpoint(settings.token_url, settings.ca) as endpoint, trio.open_nursery() as nursery:
        meter = Meter(Backend.TOKENS, record)
        source = TokenSource(settings, endpoint, meter, client=client, store=store, nursery=nursery)
        try:
            yield source
        finally:
            source.hurry()
            nursery.cancel_scope.cancel()
