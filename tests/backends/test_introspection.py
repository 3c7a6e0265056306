"""Asking a real provider about tokens: what is believed, what is remembered, and what becomes of it in trouble."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from backends.listening import Told
from backends.provider import CLIENT, CLIENT_SECRET, INTROSPECTION, Answer, Provider, running
from gatepost.backends import introspection
from gatepost.backends.asking import NoAnswer
from gatepost.backends.introspection import REMEMBER_BAD_SECONDS, REMEMBER_SECONDS
from gatepost.backends.tokens import TokenCheck, token_check
from gatepost.backends.web import ANSWER_SECONDS, CONNECTIONS, WAITING
from gatepost.facts import Backend, BackendResult
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

ALICE = "alice@example.com"
CANARY = "cAnArY-0f-a-t0ken"
TOKEN = Secret(CANARY.encode())
NOW = 1_800_000_000.0
AUTHORITY = trustme.CA()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(AUTHORITY) as provider:
        yield provider


@asynccontextmanager
async def asking(provider: Provider, told: Told | None = None, **more: Any) -> AsyncIterator[TokenCheck]:  # noqa: ANN401
    secret = provider.ca_file.with_name("client-secret")
    secret.write_text(CLIENT_SECRET)
    settings = TokenSettings(
        introspection_url=provider.introspection_url,
        ca=provider.ca_file,
        **{"client_id": CLIENT, "client_secret_file": secret, **more},
    )
    async with token_check(settings, (told or Told()).record, lambda: NOW) as check:
        yield check


async def trouble(check: TokenCheck) -> BackendResult:
    with pytest.raises(NoAnswer) as caught:
        await check.check(TOKEN)
    assert caught.value.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value.result


# --- what is believed ------------------------------------------------------------------------------------------------


async def test_an_active_token(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE, "exp": NOW + 100}
    told = Told()
    async with asking(provider, told) as check:
        assert await check.check(TOKEN) == Holder(ALICE, 100.0)
    assert provider.forms == [{"token": CANARY, "token_type_hint": "access_token"}]
    assert told.results(Backend.INTROSPECTION) == [BackendResult.ANSWERED]


async def test_an_active_token_whose_end_is_not_told(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE}
    async with asking(provider) as check:
        assert await check.check(TOKEN) == Holder(ALICE, None)


@pytest.mark.parametrize(
    "answer", [{}, {"active": False}, {"active": "true"}, {"active": 1}, {"active": None}], ids=str
)
async def test_a_token_that_is_not_active(provider: Provider, answer: dict[str, Any]) -> None:
    provider.lies[INTROSPECTION] = Answer.json({"email": ALICE, "exp": NOW + 100, **answer})
    async with asking(provider) as check:
        assert await check.check(TOKEN) is None


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iss": "https://id.example", "aud": ["mail"], "scope": "openid smtp"}, True),
        ({"iss": "https://id2.example", "aud": ["mail"], "scope": "smtp"}, False),
        ({"iss": "https://id.example", "aud": ["web"], "scope": "smtp"}, False),
        ({"iss": "https://id.example", "aud": ["mail"], "scope": "openid"}, False),
        ({"scope": "smtp"}, False),
        ({"iss": "https://id.example", "aud": ["mail"], "scope": "smtp", "exp": NOW - 100}, False),
        ({"iss": "https://id.example", "aud": ["mail"], "scope": "smtp", "email": "a\nb"}, False),
    ],
    ids=str,
)
async def test_the_same_is_demanded_of_claims_as_of_a_jwt(
    provider: Provider, claims: dict[str, Any], *, good: bool
) -> None:
    provider.active[CANARY] = {"email": ALICE, **claims}
    async with asking(provider, issuer="https://id.example", audience="mail", scope="smtp") as check:
        assert (await check.check(TOKEN) == Holder(ALICE, None)) is good


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("Bearer", True),
        ("bearer", True),
        ("BEARER", True),
        ("access_token", True),
        ("Refresh", False),
        ("refresh_token", False),
        ("ID", False),
        ("DPoP", False),
        ("mac", False),
        ("", False),
        (None, False),
        (1, False),
        (["Bearer"], False),
    ],
)
async def test_a_token_of_another_type_is_refused(provider: Provider, kind: object, *, good: bool) -> None:
    provider.active[CANARY] = {"email": ALICE, "token_type": kind}
    async with asking(provider) as check:
        assert (await check.check(TOKEN) == Holder(ALICE, None)) is good


async def test_a_token_that_needs_a_proof_is_refused(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE, "token_type": "Bearer", "cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE"}}
    async with asking(provider) as check:
        assert await check.check(TOKEN) is None


@pytest.mark.parametrize("token", [b"", b"a b", b"a\x01", b"x" * 20_000, "tokén".encode()])
async def test_what_is_no_token_is_not_asked_about(provider: Provider, token: bytes) -> None:
    async with asking(provider) as check:
        assert await check.check(Secret(token)) is None
    assert provider.asked == {}


# --- what is remembered ----------------------------------------------------------------------------------------------


async def test_a_good_token_is_remembered_shortly(provider: Provider, mock_clock: MockClock) -> None:
    provider.active[CANARY] = {"email": ALICE, "exp": NOW + 100}
    told = Told()
    async with asking(provider, told) as check:
        await check.check(TOKEN)
        mock_clock.jump(REMEMBER_SECONDS - 1)
        assert await check.check(TOKEN) == Holder(ALICE, 100 - REMEMBER_SECONDS + 1)
        del provider.active[CANARY]
        mock_clock.jump(1)
        assert await check.check(TOKEN) is None
    answered = BackendResult.ANSWERED
    assert told.results(Backend.INTROSPECTION) == [answered, BackendResult.CACHED, answered]


async def test_a_good_token_is_not_remembered_beyond_its_end(provider: Provider, mock_clock: MockClock) -> None:
    provider.active[CANARY] = {"email": ALICE, "exp": NOW + 5}
    async with asking(provider) as check:
        await check.check(TOKEN)
        mock_clock.jump(5)
        await check.check(TOKEN)
    assert provider.asked[INTROSPECTION] == 2


@pytest.mark.parametrize(
    "claims", [None, {"email": ALICE, "token_type": "Refresh"}, {"email": ALICE, "exp": 1}], ids=str
)
async def test_a_bad_token_is_remembered_still_more_shortly(
    provider: Provider, mock_clock: MockClock, claims: dict[str, Any] | None
) -> None:
    if claims is not None:
        provider.active[CANARY] = claims
    told = Told()
    async with asking(provider, told) as check:
        assert await check.check(TOKEN) is None
        provider.active[CANARY] = {"email": ALICE}
        mock_clock.jump(REMEMBER_BAD_SECONDS - 1)
        assert await check.check(TOKEN) is None
        assert provider.asked[INTROSPECTION] == 1
        mock_clock.jump(1)
        assert await check.check(TOKEN) == Holder(ALICE, None)
    answered = BackendResult.ANSWERED
    assert told.results(Backend.INTROSPECTION) == [answered, BackendResult.CACHED, answered]


async def test_many_bad_tokens_displace_no_good_one(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "REMEMBERED", 3)
    provider.active[CANARY] = {"email": ALICE}
    async with asking(provider) as check:
        assert await check.check(TOKEN) is not None
        for number in range(5):
            assert await check.check(Secret(b"junk%d" % number)) is None
        before = provider.asked[INTROSPECTION]
        assert await check.check(TOKEN) is not None
        assert await check.check(Secret(b"junk4")) is None
        assert provider.asked[INTROSPECTION] == before
        assert await check.check(Secret(b"junk0")) is None
        assert provider.asked[INTROSPECTION] == before + 1


async def test_trouble_is_not_remembered_as_a_bad_token(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE}
    provider.lies[INTROSPECTION] = Answer.json({}, 503)
    async with asking(provider) as check:
        assert await trouble(check) is BackendResult.UNREACHABLE
        del provider.lies[INTROSPECTION]
        assert await check.check(TOKEN) == Holder(ALICE, None)


async def test_one_token_is_not_taken_for_another(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE}
    provider.active["other"] = {"email": "bob@example.com"}
    async with asking(provider) as check:
        assert await check.check(TOKEN) == Holder(ALICE, None)
        assert await check.check(Secret(b"other")) == Holder("bob@example.com", None)


async def test_memory_holds_no_token(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE}
    async with asking(provider) as check:
        await check.check(TOKEN)
        await check.check(Secret(b"junk"))
        good, bad = (repr(vars(vars(check)[name])) for name in ("_good", "_bad"))
        assert ALICE in good
        assert "True" in bad
        assert CANARY not in good
        assert "junk" not in bad
        assert CLIENT_SECRET not in repr(vars(check))


# --- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
async def test_many_logins_with_one_token_wait_for_one_asking(provider: Provider, *, known: bool) -> None:
    if known:
        provider.active[CANARY] = {"email": ALICE}
    gate, found = provider.hold(INTROSPECTION), []

    async def log_in(check: TokenCheck) -> None:
        found.append(await check.check(TOKEN))

    async with asking(provider) as check, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(log_in, check)
        await trio.to_thread.run_sync(provider.wait_until_asked, INTROSPECTION)
        await wait_all_tasks_blocked()
        gate.set()
    assert found == 30 * [Holder(ALICE, None) if known else None]
    assert provider.asked[INTROSPECTION] == 1


async def test_strangers_who_flood_a_slow_provider_are_told_to_come_again(
    provider: Provider, mock_clock: MockClock
) -> None:
    gate, results, more = provider.hold(INTROSPECTION), Counter[BackendResult](), 100

    async def log_in(check: TokenCheck, number: int) -> None:
        with pytest.raises(NoAnswer) as caught:
            await check.check(Secret(b"junk%d" % number))
        results[caught.value.result] += 1

    async with asking(provider) as check:
        async with trio.open_nursery() as nursery:
            for number in range(CONNECTIONS + WAITING + more):
                nursery.start_soon(log_in, check, number)
            await trio.to_thread.run_sync(provider.wait_until_asked, INTROSPECTION, CONNECTIONS)
            await wait_all_tasks_blocked()
            assert results == {BackendResult.BUSY: more}
            mock_clock.jump(ANSWER_SECONDS)
        assert results[BackendResult.TIMED_OUT] == CONNECTIONS + WAITING
        gate.set()
        provider.active[CANARY] = {"email": ALICE}
        assert await check.check(TOKEN) == Holder(ALICE, None)


# --- trouble ---------------------------------------------------------------------------------------------------------


async def test_gatepost_itself_is_refused(provider: Provider, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    told = Told()
    async with asking(provider, told, client_secret_file=wrong) as check:
        assert await trouble(check) is BackendResult.REFUSED
    assert told.results(Backend.INTROSPECTION) == [BackendResult.REFUSED]


async def test_a_provider_that_is_down(provider: Provider) -> None:
    provider.die()
    async with asking(provider) as check:
        assert await trouble(check) is BackendResult.UNREACHABLE


@pytest.mark.parametrize("lie", [Answer(200, b"active"), Answer(200, b"[true]"), Answer(200, b"x" * 300_000)])
async def test_a_provider_that_lies(provider: Provider, lie: Answer) -> None:
    provider.lies[INTROSPECTION] = lie
    async with asking(provider) as check:
        assert await trouble(check) is BackendResult.GARBLED


async def test_a_slow_provider(provider: Provider, mock_clock: MockClock) -> None:
    provider.hold(INTROSPECTION)
    results = []

    async def log_in(check: TokenCheck) -> None:
        results.append(await trouble(check))

    async with asking(provider) as check, trio.open_nursery() as nursery:
        nursery.start_soon(log_in, check)
        await trio.to_thread.run_sync(provider.wait_until_asked, INTROSPECTION)
        mock_clock.jump(ANSWER_SECONDS)
    assert results == [BackendResult.TIMED_OUT]


async def test_an_asking_that_is_cut_off_is_told_as_a_provider_that_was_too_slow(provider: Provider) -> None:
    provider.hold(INTROSPECTION)
    told = Told()
    async with asking(provider, told) as check, trio.open_nursery() as nursery:
        nursery.start_soon(check.check, TOKEN)
        await trio.to_thread.run_sync(provider.wait_until_asked, INTROSPECTION)
        nursery.cancel_scope.cancel()
    assert told.results(Backend.INTROSPECTION) == [BackendResult.TIMED_OUT]


async def test_a_missing_secret_file_shows_at_the_start(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with asking(provider, client_secret_file=tmp_path / "missing"):
            pytest.fail("it must not begin")


async def test_the_wall_clock_is_the_default(provider: Provider) -> None:
    provider.active[CANARY] = {"email": ALICE, "exp": time.time() + 1000}
    settings = TokenSettings(introspection_url=provider.introspection_url, ca=provider.ca_file, client_id=CLIENT)
    async with token_check(settings, Told().record) as check:
        holder = await check.check(TOKEN)
    assert holder is not None
    assert holder.seconds is not None
    assert 900 < holder.seconds <= 1000
