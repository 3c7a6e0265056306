"""Tokens that gatepost obtains for the upstream (RFC 6749): as the application, or by each user's refresh token."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

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
TROUBLE_SECONDS = 5.0  # an asking without an answer speaks for those who come shortly after
AFRESH_SECONDS = 30.0  # between two tokens given up because the upstream refused them
ASKINGS = 8  # at once: of many who wait for a dead provider, so many find out and the others are told

Form = dict[str, str | Secret]


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
    """The provider gives no token by this grant: the refresh token was revoked, or has expired."""


def read_grant(reply: Reply) -> Granted:
    """Raises NoAnswer, and NotGranted when it is only this grant that is refused."""
    document = reply.document or {}
    error = document.get("error") if 400 <= reply.status < 500 else None  # noqa: PLR2004  RFC 6749 section 5.2
    if error == "invalid_grant":
        raise NotGranted(BackendResult.REFUSED)
    if isinstance(error, str):  # it is gatepost that is refused: invalid_client, unauthorized_client ...
        raise NoAnswer(BackendResult.REFUSED)
    document = reply.require()
    token, refresh = _secret(document.get("access_token")), _secret(document.get("refresh_token"))
    kind = document.get("token_type")
    bearer = isinstance(kind, str) and kind.lower() == "bearer"  # section 5.1: case insensitive
    if not bearer or token is None or not presentable(token):
        raise NoAnswer(BackendResult.GARBLED)
    return Granted(token, _keep_seconds(document.get("expires_in")), refresh)


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


class TokenSource:
    """One token at a time for each user, or one for all users, obtained when it is needed.

    What is asked by a refresh token is seen through even when gatepost stops meanwhile: the answer may hold the only
    refresh token that is still good.
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
        self._tokens: Cache[str, Secret] = Cache(TOKENS)
        self._given_up: Cache[str, float] = Cache(TOKENS)  # when
        self._trouble: Cache[None, BackendResult] = Cache(1)
        self._unsaved: dict[str, Secret] = {}  # refresh tokens that the store could not keep

    async def obtain(self, user: str) -> Secret | None:
        """A token for this user; None: the provider gives none. Raises NoAnswer."""
        whose = user if self._per_user else ""
        token = self._tokens.get(whose)
        if token is None:
            return await self._flights.join(whose, partial(self._obtain, whose))
        self._meter.cached()
        return token

    def invalidate(self, user: str) -> None:
        """The upstream refused this user's token: the next login gets a fresh one.

        Not again within AFRESH_SECONDS: what is wrong is then not the token's age, and the provider is spared.
        """
        whose = user if self._per_user else ""
        if self._given_up.get(whose) is None:
            self._given_up.put(whose, trio.current_time(), AFRESH_SECONDS)
            self._tokens.drop(whose)

    async def _obtain(self, whose: str) -> Secret | None:
        form: Form = {"grant_type": "client_credentials"}
        if self._per_user:
            refresh = self._unsaved.get(whose) or await self._store.find(whose)
            if refresh is None:
                return None
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
        async with self._askings:
            trouble = self._trouble.get(None)
            if trouble is not None:
                self._meter.cached()
                raise NoAnswer(trouble)
            return await self._ask(whose, form | self._scope)

    async def _ask(self, whose: str, form: Form) -> Secret | None:
        try:
            with self._meter.asking(), trio.CancelScope(shield=self._per_user):
                granted = read_grant(await self._endpoint.post(form, self._client))
        except NotGranted:
            self._unsaved.pop(whose, None)
            return None
        except NoAnswer as failed:
            self._trouble.put(None, failed.result, TROUBLE_SECONDS)
            raise
        if granted.refresh is not None and granted.refresh != form.get("refresh_token"):
            await self._keep(whose, granted.refresh)
        self._tokens.put(whose, granted.token, granted.seconds)
        return granted.token

    async def _keep(self, whose: str, refresh: Secret) -> None:
        if not self._per_user:  # RFC 6749 section 4.4.3: none should be given here
            return
        self._unsaved[whose] = refresh
        with trio.CancelScope(shield=True), suppress(NoAnswer):
            await self._store.replace(whose, refresh)
            del self._unsaved[whose]


@asynccontextmanager
async def token_source(settings: OauthSettings, record: Record, store: RefreshTokens) -> AsyncIterator[TokenSource]:
    """The source that the settings ask for, while it is entered; `store` is asked for refresh tokens only.

    Raises ValueError for settings that cannot be used, and OSError for files that cannot be read.
    """
    client = Client.load(settings.client_id, settings.client_secret_file)
    async with Endpoint(settings.token_url, settings.ca) as endpoint, trio.open_nursery() as nursery:
        meter = Meter(Backend.TOKENS, record)
        yield TokenSource(settings, endpoint, meter, client=client, store=store, nursery=nursery)
        nursery.cancel_scope.cancel()
