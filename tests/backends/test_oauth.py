"""Obtaining tokens from a real provider: both grants, how long they are kept, and what becomes of it in trouble."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from backends.listening import Told
from backends.provider import CLIENT, CLIENT_SECRET, TOKENS, Answer, Provider, running
from gatepost.backends.asking import NoAnswer
from gatepost.backends.oauth import (
    AFRESH_SECONDS,
    ASKINGS,
    GRACE_SECONDS,
    LONGEST_SECONDS,
    TROUBLE_SECONDS,
    UNTOLD_SECONDS,
    TokenSource,
    token_source,
)
from gatepost.backends.web import ANSWER_SECONDS
from gatepost.facts import Backend, BackendResult
from gatepost.sasl.secret import Secret
from gatepost.settings import Grant, OauthSettings

ALICE, BOB = "alice@example.com", "bob@example.com"
CANARY = "cAnArY-0f-a-refresh-t0ken"
AUTHORITY = trustme.CA()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(AUTHORITY) as provider:
        yield provider


class Store:
    """The users' refresh tokens, in memory."""

    def __init__(self, **tokens: str) -> None:
        self.tokens = {f"{name}@example.com": token for name, token in tokens.items()}
        self.trouble: BackendResult | None = None
        self.full = False
        self.replaced = 0

    async def find(self, user: str) -> Secret | None:
        await trio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise NoAnswer(self.trouble)
        token = self.tokens.get(user)
        return None if token is None else Secret(token.encode())

    async def replace(self, user: str, new: Secret) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise NoAnswer(BackendResult.UNREACHABLE)
        self.replaced += 1
        self.tokens[user] = new.reveal().decode()


@asynccontextmanager
async def source(
    provider: Provider,
    store: Store | None = None,
    told: Told | None = None,
    *,
    scope: str = "",
    secret: bool = True,
    grant: Grant | None = None,
) -> AsyncIterator[TokenSource]:
    """By refresh tokens when there is a store of them."""
    file = provider.ca_file.with_name("client-secret")
    file.write_text(CLIENT_SECRET)
    settings = OauthSettings(
        token_url=provider.token_url,
        ca=provider.ca_file,
        grant=grant or (Grant.CLIENT_CREDENTIALS if store is None else Grant.REFRESH_TOKEN),
        client_id=CLIENT,
        client_secret_file=file if secret else None,
        scope=scope,
    )
    async with token_source(settings, (told or Told()).record, store or Store()) as made:
        yield made


async def token(made: TokenSource, user: str = ALICE) -> str | None:
    obtained = await made.obtain(user)
    return None if obtained is None else obtained.reveal().decode()


async def trouble(made: TokenSource, user: str = ALICE) -> BackendResult:
    with pytest.raises(NoAnswer) as caught:
        await made.obtain(user)
    assert caught.value.__context__ is None
    text = "".join(traceback.format_exception(caught.value))
    assert CANARY not in text
    assert CLIENT_SECRET not in text
    return caught.value.result


# --- as the application ----------------------------------------------------------------------------------------------


async def test_one_token_is_for_all_users(provider: Provider) -> None:
    told = Told()
    async with source(provider, told=told, scope="smtp send") as made:
        assert [await token(made, user) for user in (ALICE, BOB, ALICE)] == 3 * ["application-1"]
    assert provider.forms == [{"grant_type": "client_credentials", "scope": "smtp send"}]
    answered, cached = BackendResult.ANSWERED, BackendResult.CACHED
    assert told.results(Backend.TOKENS) == [answered, cached, cached]


async def test_without_a_secret_the_client_names_itself_in_the_form(provider: Provider) -> None:
    async with source(provider, secret=False) as made:
        assert await token(made) == "application-1"
    assert provider.forms == [{"grant_type": "client_credentials", "client_id": CLIENT}]


async def test_a_refresh_token_that_nobody_asked_for_is_not_kept(provider: Provider) -> None:
    provider.grants["refresh_token"] = CANARY
    store = Store()
    async with source(provider, store, grant=Grant.CLIENT_CREDENTIALS) as made:
        assert await token(made) == "application-1"
        assert store.tokens == {}
        made.invalidate(ALICE)
        assert await token(made) == "application-2"
    assert [form["grant_type"] for form in provider.forms] == 2 * ["client_credentials"]


# --- by each user's refresh token ------------------------------------------------------------------------------------


async def test_each_user_has_an_own_token(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "r-bob": BOB}
    async with source(provider, Store(alice="r-alice", bob="r-bob"), scope="smtp") as made:
        assert [await token(made, user) for user in (ALICE, BOB, ALICE)] == ["alice-1", "bob-2", "alice-1"]
    assert provider.forms[0] == {"grant_type": "refresh_token", "refresh_token": "r-alice", "scope": "smtp"}
    assert len(provider.forms) == 2


async def test_a_user_without_a_refresh_token_gets_none_and_nobody_is_asked(provider: Provider) -> None:
    told = Told()
    async with source(provider, Store(), told) as made:
        assert await token(made) is None
    assert (provider.asked, told.facts) == ({}, [])


async def test_a_refresh_token_that_was_revoked_gives_none(provider: Provider) -> None:
    provider.refresh_tokens = {"r-bob": BOB}
    told = Told()
    async with source(provider, Store(alice="revoked", bob="r-bob"), told) as made:
        assert await token(made, ALICE) is None
        assert await token(made, BOB) == "bob-2"
    assert told.results(Backend.TOKENS) == [BackendResult.REFUSED, BackendResult.ANSWERED]


async def test_a_new_refresh_token_takes_the_place_of_the_old(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        assert await token(made) == "alice-1"
        assert store.tokens == {ALICE: "refresh-1"}
        made.invalidate(ALICE)
        assert await token(made) == "alice-2"
    assert store.tokens == {ALICE: "refresh-2"}


async def test_a_new_refresh_token_is_not_lost_when_the_store_cannot_keep_it(
    provider: Provider, mock_clock: MockClock
) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        store.full = True
        assert await token(made) == "alice-1"
        assert store.tokens == {ALICE: "r-alice"}
        made.invalidate(ALICE)
        store.full = False
        assert await token(made) == "alice-2"
        assert store.tokens == {ALICE: "refresh-2"}
        store.tokens = {ALICE: "set by hand"}
        provider.refresh_tokens["set by hand"] = ALICE
        mock_clock.jump(AFRESH_SECONDS)
        made.invalidate(ALICE)
        assert await token(made) == "alice-3"
    assert provider.forms[-1]["refresh_token"] == "set by hand"


async def test_a_refresh_token_in_memory_that_was_revoked_gives_way_to_the_stores(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    store.full = True
    async with source(provider, store) as made:
        assert await token(made) == "alice-1"
        provider.refresh_tokens = {"r-alice": ALICE}
        made.invalidate(ALICE)
        assert await token(made) is None
        assert await token(made) == "alice-3"
    assert [form["refresh_token"] for form in provider.forms] == ["r-alice", "refresh-1", "r-alice"]


async def test_a_refresh_token_in_memory_gives_way_to_one_that_was_set_by_hand(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "set by hand": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    store.full = True
    async with source(provider, store) as made:
        for _ in range(2):
            await token(made)
            made.invalidate(ALICE)
        store.tokens = {ALICE: "set by hand"}
        store.full = False
        await token(made)
    assert provider.forms[-1]["refresh_token"] == "set by hand"
    assert store.tokens == {ALICE: f"refresh-{provider.asked[TOKENS]}"}


async def test_a_refresh_token_that_the_store_cannot_keep_is_used_and_rotated_all_the_same(
    provider: Provider, mock_clock: MockClock
) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    store.full = True
    async with source(provider, store) as made:
        for number in (1, 2, 3):
            assert [await token(made), await token(made)] == 2 * [f"alice-{number}"]
            mock_clock.jump(AFRESH_SECONDS)
            made.invalidate(ALICE)
        store.full = False
        assert await token(made) == "alice-4"
    assert store.tokens == {ALICE: "refresh-4"}


async def test_a_refresh_token_that_is_restored_by_hand_is_used_again(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        assert await token(made) == "alice-1"
        provider.refresh_tokens = {"r-alice": ALICE}
        store.tokens = {ALICE: "r-alice"}
        assert await token(made) == "alice-2"


async def test_one_that_was_set_by_hand_while_the_provider_was_asked_stays(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "set by hand": ALICE}
    provider.rotates_refresh_tokens = True
    gate, store = provider.hold(TOKENS), Store(alice="r-alice")
    async with source(provider, store) as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.obtain, ALICE)
            await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS)
            store.tokens = {ALICE: "set by hand"}
            gate.set()
        assert store.tokens == {ALICE: "set by hand"}
        assert await token(made) == "alice-2"
    assert store.tokens == {ALICE: "refresh-2"}


@pytest.mark.parametrize("rotates", [False, True])
async def test_a_token_goes_with_the_refresh_token_that_it_came_by(provider: Provider, *, rotates: bool) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "r-bob": BOB}
    provider.rotates_refresh_tokens = rotates
    store = Store(alice="r-bob")  # a mistake
    async with source(provider, store) as made:
        assert [await token(made), await token(made)] == 2 * ["bob-1"]
        store.tokens = {ALICE: "r-alice"}
        assert [await token(made), await token(made)] == 2 * ["alice-2"]
        store.tokens = {}
        assert await token(made) is None
    assert provider.asked[TOKENS] == 2


@pytest.mark.parametrize("lie", [{"access_token": "a"}, {"access_token": "", "token_type": "Bearer"}, {}], ids=str)
async def test_a_new_refresh_token_is_kept_whatever_else_is_wrong(provider: Provider, lie: dict[str, str]) -> None:
    provider.lies[TOKENS] = Answer.json({"refresh_token": "refresh-1", **lie})
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        assert await trouble(made) is BackendResult.GARBLED
        assert await trouble(made) is BackendResult.GARBLED
    assert store.tokens == {ALICE: "refresh-1"}
    assert provider.asked[TOKENS] == 1


async def test_a_refresh_token_in_a_refusal_is_not_kept(provider: Provider) -> None:
    provider.lies[TOKENS] = Answer.json({"error": "interaction_required", "refresh_token": "refresh-1"}, 400)
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        assert await trouble(made) is BackendResult.REFUSED
    assert store.tokens == {ALICE: "r-alice"}


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_what_is_asked_by_a_refresh_token_is_seen_through_when_gatepost_stops(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.rotates_refresh_tokens = True
    gate = provider.hold(TOKENS)
    store = Store(alice="r-alice")

    async def let_go() -> None:
        await wait_all_tasks_blocked()
        gate.set()

    async with trio.open_nursery() as outside:
        async with source(provider, store) as made, trio.open_nursery() as nursery:
            nursery.start_soon(made.obtain, ALICE)
            await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS)
            nursery.cancel_scope.cancel()
            outside.start_soon(let_go)
        assert store.tokens == {ALICE: "refresh-1"}


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_provider_that_hangs_does_not_hold_up_a_stop_for_long(
    provider: Provider, mock_clock: MockClock, *, cancelled: bool
) -> None:
    provider.hold(TOKENS)
    results: list[BackendResult] = []
    stopping, stopped = trio.Event(), trio.Event()

    async def log_in(made: TokenSource, user: str) -> None:
        results.append(await trouble(made, user))

    async def run(scope: trio.CancelScope) -> None:
        with scope:
            async with source(provider, Store(alice="r-alice", bob="r-bob")) as made:
                outside.start_soon(log_in, made, ALICE)
                outside.start_soon(log_in, made, BOB)
                await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS, 2)
                if cancelled:
                    scope.cancel()
                stopping.set()
        stopped.set()

    async with trio.open_nursery() as outside:
        outside.start_soon(run, trio.CancelScope())
        await stopping.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(GRACE_SECONDS - 0.5)
        await wait_all_tasks_blocked()
        assert not stopped.is_set()
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        assert stopped.is_set()
    assert results == 2 * [BackendResult.TIMED_OUT]


async def test_trouble_with_the_store_is_not_taken_for_the_providers(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    store, told = Store(alice="r-alice"), Told()
    async with source(provider, store, told) as made:
        store.trouble = BackendResult.BUSY
        assert await trouble(made) is BackendResult.BUSY
        store.trouble = None
        assert await token(made) == "alice-1"
    assert told.results(Backend.TOKENS) == [BackendResult.ANSWERED]


# --- how long a token is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"expires_in": 3600}, 3540),
        ({"expires_in": 100}, 90),
        ({"expires_in": 100.5}, 90.45),
        ({"expires_in": "100"}, 90),
        ({"expires_in": 10**400}, UNTOLD_SECONDS * 0.9),
        ({"expires_in": 10**12}, LONGEST_SECONDS - 60),
        ({"expires_in": None}, UNTOLD_SECONDS * 0.9),
        ({"expires_in": True}, UNTOLD_SECONDS * 0.9),
        ({"expires_in": "soon"}, UNTOLD_SECONDS * 0.9),
        ({"expires_in": float("nan")}, UNTOLD_SECONDS * 0.9),
        ({}, UNTOLD_SECONDS * 0.9),
    ],
    ids=str,
)
async def test_a_token_is_kept_until_shortly_before_its_end(
    provider: Provider, mock_clock: MockClock, told: dict[str, Any], kept: float
) -> None:
    provider.grants = {"token_type": "Bearer", **told}
    async with source(provider) as made:
        assert await token(made) == "application-1"
        mock_clock.jump(kept - 0.01)
        assert await token(made) == "application-1"
        mock_clock.jump(0.02)
        assert await token(made) == "application-2"


@pytest.mark.parametrize("seconds", [0, -5])
async def test_a_token_that_ends_at_once_is_not_kept(provider: Provider, seconds: int) -> None:
    provider.grants["expires_in"] = seconds
    async with source(provider) as made:
        assert [await token(made), await token(made)] == ["application-1", "application-2"]


async def test_a_token_that_the_upstream_refused_is_replaced(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "r-bob": BOB}
    async with source(provider, Store(alice="r-alice", bob="r-bob")) as made:
        assert [await token(made, ALICE), await token(made, BOB)] == ["alice-1", "bob-2"]
        made.invalidate(ALICE)
        assert [await token(made, ALICE), await token(made, BOB)] == ["alice-3", "bob-2"]


async def test_an_upstream_that_refuses_every_token_does_not_hammer_the_provider(
    provider: Provider, mock_clock: MockClock
) -> None:
    async with source(provider) as made:
        for _ in range(int(AFRESH_SECONDS)):
            await token(made)
            made.invalidate(ALICE)
            mock_clock.jump(1)
        assert provider.asked[TOKENS] == 2
        made.invalidate(ALICE)
        assert await token(made) == "application-3"


# --- many at once ----------------------------------------------------------------------------------------------------


async def test_many_logins_wait_for_one_token(provider: Provider) -> None:
    gate = provider.hold(TOKENS)
    found = []

    async def log_in(made: TokenSource) -> None:
        found.append(await token(made))

    async with source(provider) as made, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(log_in, made)
        await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS)
        await wait_all_tasks_blocked()
        gate.set()
    assert found == 50 * ["application-1"]


async def test_whoever_gives_up_does_not_take_the_token_from_the_others(provider: Provider) -> None:
    gate = provider.hold(TOKENS)
    first, found = trio.CancelScope(), []

    async def give_up(made: TokenSource) -> None:
        with first:
            await made.obtain(ALICE)

    async def log_in(made: TokenSource) -> None:
        found.append(await token(made))

    async with source(provider) as made, trio.open_nursery() as nursery:
        nursery.start_soon(give_up, made)
        await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS)
        nursery.start_soon(log_in, made)
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        gate.set()
    assert first.cancelled_caught
    assert found == ["application-1"]
    assert provider.asked[TOKENS] == 1


async def test_a_dead_provider_is_not_asked_by_each_of_many_users(provider: Provider, mock_clock: MockClock) -> None:
    provider.hold(TOKENS)
    names = [f"user{number}" for number in range(50)]
    results = []

    async def log_in(made: TokenSource, name: str) -> None:
        results.append(await trouble(made, f"{name}@example.com"))

    async with source(provider, Store(**dict.fromkeys(names, CANARY))) as made, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(log_in, made, name)
        await trio.to_thread.run_sync(provider.wait_until_asked, TOKENS, ASKINGS)
        await wait_all_tasks_blocked()
        mock_clock.jump(ANSWER_SECONDS)
    assert results == 50 * [BackendResult.TIMED_OUT]
    assert provider.asked[TOKENS] == ASKINGS


# --- trouble ---------------------------------------------------------------------------------------------------------


async def test_a_failure_speaks_for_those_who_come_shortly_after(provider: Provider, mock_clock: MockClock) -> None:
    provider.lies[TOKENS] = Answer.json({}, 503)
    told = Told()
    async with source(provider, told=told) as made:
        assert [await trouble(made) for _ in range(3)] == 3 * [BackendResult.UNREACHABLE]
        assert provider.asked[TOKENS] == 1
        del provider.lies[TOKENS]
        mock_clock.jump(TROUBLE_SECONDS)
        assert await token(made) == "application-2"
    cached, answered = BackendResult.CACHED, BackendResult.ANSWERED
    assert told.results(Backend.TOKENS) == [BackendResult.UNREACHABLE, cached, cached, answered]


async def test_a_kept_token_serves_while_the_provider_is_down(provider: Provider) -> None:
    async with source(provider) as made:
        assert await token(made) == "application-1"
        provider.die()
        assert await token(made) == "application-1"
        made.invalidate(ALICE)
        assert await trouble(made) is BackendResult.UNREACHABLE


ODD = [
    Answer.json({"error": "interaction_required"}, 400),
    Answer.json({"error": "invalid_scope"}, 400),
    Answer.json({"error": "access_denied"}, 403),
    Answer(403, b"<html>"),
    Answer(400, b"<html>"),
    Answer(200, b"<html>"),
    Answer.json({"access_token": "a", "token_type": "mac"}),
    Answer(hang_up=True),
]


@pytest.mark.parametrize("lie", ODD, ids=lambda lie: f"{lie.status}-{lie.body!r}")
async def test_what_is_odd_about_one_user_is_no_trouble_for_others(
    provider: Provider, mock_clock: MockClock, lie: Answer
) -> None:
    provider.refresh_tokens = {"r-alice": ALICE, "r-bob": BOB}
    provider.lies[TOKENS] = lie
    told = Told()
    async with source(provider, Store(alice="r-alice", bob="r-bob"), told) as made:
        results = {await trouble(made, BOB) for _ in range(3)}
        assert provider.asked[TOKENS] == 1
        del provider.lies[TOKENS]
        assert await token(made, ALICE) == "alice-2"
        mock_clock.jump(TROUBLE_SECONDS - 1)
        assert {await trouble(made, BOB)} == results
        mock_clock.jump(1)
        assert await token(made, BOB) == "bob-3"
    cached, answered = BackendResult.CACHED, BackendResult.ANSWERED
    assert told.results(Backend.TOKENS) == [*results, cached, cached, answered, cached, answered]


@pytest.mark.parametrize(
    "lie",
    [
        Answer.json({"error": "invalid_client"}, 401),
        Answer.json({"error": "invalid_client"}, 400),
        Answer(401, b"<html>"),
        Answer.json({"error": "slow_down"}, 429),
        Answer.json({}, 500),
        Answer(503, b"<html>"),
    ],
    ids=lambda lie: f"{lie.status}-{lie.body!r}",
)
async def test_what_is_trouble_for_all_is_found_out_by_one(provider: Provider, lie: Answer) -> None:
    provider.lies[TOKENS] = lie
    async with source(provider, Store(alice="r-alice", bob="r-bob")) as made:
        assert await trouble(made, BOB) is await trouble(made, ALICE)
    assert provider.asked[TOKENS] == 1


async def test_a_device_whose_refresh_token_was_revoked_does_not_hammer(
    provider: Provider, mock_clock: MockClock
) -> None:
    told = Told()
    async with source(provider, Store(alice="revoked"), told) as made:
        assert [await token(made) for _ in range(3)] == 3 * [None]
        assert provider.asked[TOKENS] == 1
        mock_clock.jump(TROUBLE_SECONDS)
        assert await token(made) is None
    assert provider.asked[TOKENS] == 2
    refused, cached = BackendResult.REFUSED, BackendResult.CACHED
    assert told.results(Backend.TOKENS) == [refused, cached, cached, refused]


async def test_a_refresh_token_that_was_corrected_is_tried_at_once(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    store = Store(alice="revoked")
    async with source(provider, store) as made:
        assert await token(made) is None
        store.tokens = {ALICE: "r-alice"}
        assert await token(made) == "alice-2"


@pytest.mark.parametrize(
    ("lie", "result"),
    [
        (Answer.json({"error": "invalid_client"}, 401), BackendResult.REFUSED),
        (Answer.json({"error": "unauthorized_client"}, 400), BackendResult.REFUSED),
        (Answer.json({"error": "invalid_scope"}, 400), BackendResult.REFUSED),
        (Answer.json({"error": "slow_down"}, 429), BackendResult.REFUSED),
        (Answer(401, b"<html>"), BackendResult.REFUSED),
        (Answer(403, b"<html>"), BackendResult.REFUSED),
        (Answer(400, b"<html>"), BackendResult.GARBLED),
        (Answer.json({"error": ["invalid_grant"]}, 400), BackendResult.GARBLED),
        (Answer.json({"error": "invalid_grant"}, 503), BackendResult.UNREACHABLE),
        (Answer.json({"error": "invalid_grant"}, 200), BackendResult.GARBLED),
        (Answer(200, b"access_token=a"), BackendResult.GARBLED),
        (Answer.json({"access_token": "a", "token_type": "Bearer"}, 201), BackendResult.GARBLED),
        (Answer.json({"access_token": "a", "token_type": "Bearer"}, 400), BackendResult.GARBLED),
        (Answer.json({}), BackendResult.GARBLED),
        (Answer.json({"access_token": "a"}), BackendResult.GARBLED),
        (Answer.json({"token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "a", "token_type": "mac"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "a", "token_type": 1}), BackendResult.GARBLED),
        (Answer.json({"access_token": "", "token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": 1, "token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "a\x01b", "token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "a b", "token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "tokén", "token_type": "Bearer"}), BackendResult.GARBLED),
        (Answer.json({"access_token": "x" * 20_000, "token_type": "Bearer"}), BackendResult.GARBLED),
    ],
    ids=lambda value: value.value if isinstance(value, BackendResult) else f"{value.status}-{value.body[:60]!r}",
)
async def test_what_is_no_token(provider: Provider, lie: Answer, result: BackendResult) -> None:
    provider.lies[TOKENS] = lie
    async with source(provider, Store(alice=CANARY)) as made:
        assert await trouble(made) is result


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
async def test_the_type_of_a_token_is_told_in_any_case(provider: Provider, kind: str) -> None:
    provider.grants["token_type"] = kind
    async with source(provider) as made:
        assert await token(made) == "application-1"


async def test_a_new_refresh_token_of_no_form_is_not_kept(provider: Provider) -> None:
    store = Store(alice="r-alice")
    provider.refresh_tokens = {"r-alice": ALICE}
    for lie in ("a\nb", "é", "", 1):
        provider.grants["refresh_token"] = lie
        async with source(provider, store) as made:
            assert (await token(made) or "").startswith("alice-")
    assert store.tokens == {ALICE: "r-alice"}


async def test_a_refresh_token_that_stays_the_same_is_not_kept_again(provider: Provider) -> None:
    provider.refresh_tokens = {"r-alice": ALICE}
    provider.grants["refresh_token"] = "r-alice"
    store = Store(alice="r-alice")
    async with source(provider, store) as made:
        assert await token(made) == "alice-1"
    assert store.replaced == 0


async def test_no_secret_is_logged(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    provider.refresh_tokens = {CANARY: ALICE}
    provider.rotates_refresh_tokens = True
    with caplog.at_level(logging.DEBUG):
        async with source(provider, Store(alice=CANARY)) as made:
            assert await token(made) == "alice-1"
    assert "httpcore" in caplog.text  # it would have been seen
    for secret in (CANARY, "refresh-1", "alice-1", CLIENT_SECRET, "Basic"):
        assert secret not in caplog.text


async def test_nothing_of_the_source_prints_a_secret(provider: Provider) -> None:
    provider.refresh_tokens = {CANARY: ALICE}
    provider.rotates_refresh_tokens = True
    store = Store(alice=CANARY)
    store.full = True
    async with source(provider, store) as made:
        obtained = await made.obtain(ALICE)
        assert obtained is not None
        text = repr({**vars(made), "_store": None, "answers": vars(vars(made)["_answers"])})
    assert "Answer(" in text
    assert "Unsaved(" in text
    assert "refresh-1" not in text
    assert "alice-1" not in text
    assert CLIENT_SECRET not in text
