"""The desk: every question of the core, and who answers it."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from gatepost.backends.asking import NoAnswer, Record
from gatepost.backends.derivation import Derivation
from gatepost.backends.oauth import token_source
from gatepost.backends.store import Store
from gatepost.backends.tokens import token_check
from gatepost.sasl.questions import (
    CheckPassword,
    CheckToken,
    DeriveKey,
    FindPassword,
    FindUpstreamLogin,
    FindVerifier,
    ForgetToken,
    Holder,
    Nonce,
    ObtainToken,
    Question,
    Unavailable,
)
from gatepost.sasl.secret import Secret
from gatepost.settings import OauthSettings, Settings, TokenSettings

NONCE_BYTES = 18  # of chance, 24 in base64

Answers = dict[type[Question[Any]], Callable[[Any], Awaitable[object]]]


class Desk:
    """Whoever is not there is not asked: the settings are checked for it, and plans follow the settings."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def answer(self, question: Question[Any]) -> object:
        """What the question asks for, or Unavailable."""
        try:
            return await self._answers[type(question)](question)
        except NoAnswer:
            return Unavailable()


@asynccontextmanager
async def staffed(settings: Settings, store: Store | None, record: Record) -> AsyncIterator[Desk]:
    """A desk for these settings, while it is entered. Raises OSError or ValueError for files that cannot be used."""
    answers: Answers = {Nonce: _nonce, DeriveKey: Derivation(record).derive, **_of_store(store)}
    async with AsyncExitStack() as stack:
        if settings.tokens is not None:
            answers |= await stack.enter_async_context(_of_tokens(settings.tokens, record))
        if settings.oauth is not None:
            answers |= await stack.enter_async_context(_of_oauth(settings.oauth, store, record))
        yield Desk(answers)


async def _nonce(_question: Nonce) -> bytes:
    return b64encode(secrets.token_bytes(NONCE_BYTES))


def _of_store(store: Store | None) -> Answers:
    if store is None:
        return {}
    return {
        FindVerifier: store.find_verifier,
        FindPassword: store.find_password,
        CheckPassword: store.check_password,
        FindUpstreamLogin: store.find_upstream_login,
    }


@asynccontextmanager
async def _of_tokens(settings: TokenSettings, record: Record) -> AsyncIterator[Answers]:
    async with token_check(settings, record) as checking:

        async def check(question: CheckToken) -> Holder | None:
            return await checking.check(question.token)

        yield {CheckToken: check}


@asynccontextmanager
async def _of_oauth(settings: OauthSettings, store: Store | None, record: Record) -> AsyncIterator[Answers]:
    async with token_source(settings, record, RefreshTokensOf(store)) as source:

        async def obtain(question: ObtainToken) -> Secret | None:
            return await source.obtain(question.user)

        async def forget(question: ForgetToken) -> None:
            source.invalidate(question.user)

        yield {ObtainToken: obtain, ForgetToken: forget}


class RefreshTokensOf:
    """A user's refresh token is what the store holds as the upstream secret."""

    def __init__(self, store: Store | None) -> None:
        self._store = store

    async def find(self, user: str) -> Secret | None:
        login = await self._store.find_upstream_login(FindUpstreamLogin(user)) if self._store else None
        return login.secret if login else None

    async def replace(self, user: str, new: Secret) -> None:
        if self._store is not None:
            await self._store.replace_upstream_secret(user, new)
