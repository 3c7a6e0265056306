"""HTTPS to the provider: what it makes of a provider that is down, slow, lying, or someone else."""

from __future__ import annotations

import gc
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from backends.provider import CLIENT, INTROSPECTION, KEYS, TOKENS, Answer, Provider, running
from gatepost.backends.asking import NoAnswer
from gatepost.backends.web import ANSWER_BYTES, ANSWER_SECONDS, CONNECTIONS, WAITING, Client, Endpoint, Reply
from gatepost.facts import BackendResult
from gatepost.sasl.secret import Secret

CANARY = "cAnArY-0f-a-secret"
AUTHORITY = trustme.CA()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(AUTHORITY) as provider:
        yield provider


async def get(provider: Provider) -> Reply:
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        return await endpoint.get()


async def trouble(provider: Provider) -> BackendResult:
    with pytest.raises(NoAnswer) as caught:
        (await get(provider)).require()
    assert caught.value.__context__ is None
    return caught.value.result


async def test_a_document_comes_whole(provider: Provider) -> None:
    assert (await get(provider)).require() == provider.key_set()


async def test_connections_are_kept(provider: Provider) -> None:
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        await endpoint.get()
        provider.lies[KEYS] = Answer.json({"second": True})
        assert (await endpoint.get()).document == {"second": True}


async def test_no_cookie_is_kept(provider: Provider) -> None:
    provider.lies[KEYS] = Answer(200, b"{}", {"Set-Cookie": "session=1; Path=/"})
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        await endpoint.get()
        await endpoint.get()
    assert [headers.get("Cookie") for headers in provider.headers] == [None, None]


# --- no answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Answer.json({}, 401), BackendResult.REFUSED),
        (Answer.json({}, 403), BackendResult.REFUSED),
        (Answer.json({}, 429), BackendResult.REFUSED),
        (Answer.json({}, 500), BackendResult.UNREACHABLE),
        (Answer.json({}, 503), BackendResult.UNREACHABLE),
        (Answer.json({}, 404), BackendResult.GARBLED),
        (Answer(204), BackendResult.GARBLED),
        (Answer(302, b"{}", {"Location": "/elsewhere"}), BackendResult.GARBLED),
        (Answer(302, b"{}", {"Location": "javascript:1"}), BackendResult.GARBLED),
        (Answer(200, b""), BackendResult.GARBLED),
        (Answer(200, b"<html>"), BackendResult.GARBLED),
        (Answer(200, b"[]"), BackendResult.GARBLED),
        (Answer(200, b'{"a": "\xff"}'), BackendResult.GARBLED),
        (Answer(200, b'{"a":' + b"[" * 100_000), BackendResult.GARBLED),
        (Answer(200, b'{"a":' + b"9" * 5_000 + b"}"), BackendResult.GARBLED),
        (Answer(200, b'{"a":"' + b"x" * ANSWER_BYTES + b'"}'), BackendResult.GARBLED),
        (Answer(200, b"{}", {"Content-Encoding": "gzip"}), BackendResult.GARBLED),
        (Answer(200, b"{}", {"Content-Length": "3", "Connection": "close"}), BackendResult.GARBLED),
        (Answer(200, b"{}", {"Content-Length": "x"}), BackendResult.GARBLED),
        (Answer(hang_up=True), BackendResult.GARBLED),
    ],
    ids=lambda value: value.value if isinstance(value, BackendResult) else f"{value.status}-{value.body[:8]!r}",
)
async def test_what_is_no_answer(provider: Provider, answer: Answer, result: BackendResult) -> None:
    provider.lies[KEYS] = answer
    assert await trouble(provider) is result
    gc.collect()  # a stream that was left halfway would warn now


async def test_redirects_are_not_followed(provider: Provider) -> None:
    provider.lies[KEYS] = Answer(307, b"{}", {"Location": provider.introspection_url})
    assert (await get(provider)).status == 307
    assert provider.asked == {KEYS: 1}


async def test_a_provider_that_is_down(provider: Provider) -> None:
    provider.die()
    assert await trouble(provider) is BackendResult.UNREACHABLE


async def test_a_name_that_no_resolver_takes() -> None:
    async with Endpoint(f"https://{'a' * 70}.example/", None) as endpoint:
        with pytest.raises(NoAnswer) as caught:
            await endpoint.get()
    assert caught.value.result is BackendResult.UNREACHABLE


async def test_a_provider_that_comes_back(provider: Provider) -> None:
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        await endpoint.get()
        provider.die()
        with pytest.raises(NoAnswer):
            await endpoint.get()
        provider.start(AUTHORITY)
        assert (await endpoint.get()).status == 200


async def test_a_certificate_of_another_authority(provider: Provider, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    provider.ca_file = other
    assert await trouble(provider) is BackendResult.UNREACHABLE
    assert provider.asked == {}


async def test_a_certificate_for_another_name(provider: Provider) -> None:
    async with Endpoint(provider.jwks_url.replace("localhost", "127.0.0.1"), provider.ca_file) as endpoint:
        with pytest.raises(NoAnswer) as caught:
            await endpoint.get()
    assert caught.value.result is BackendResult.UNREACHABLE
    assert provider.asked == {}


async def test_the_systems_authorities_do_not_know_this_one(provider: Provider) -> None:
    async with Endpoint(provider.jwks_url, None) as endpoint:
        with pytest.raises(NoAnswer):
            await endpoint.get()
    assert provider.asked == {}


async def test_a_slow_provider_is_not_waited_for_for_ever(provider: Provider, mock_clock: MockClock) -> None:
    provider.hold(KEYS)
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(NoAnswer) as caught:
                await endpoint.get()
            assert caught.value.result is BackendResult.TIMED_OUT
            assert caught.value.__context__ is None
            done.set()

        done = trio.Event()
        nursery.start_soon(ask)
        await trio.to_thread.run_sync(provider.wait_until_asked, KEYS)
        mock_clock.jump(ANSWER_SECONDS - 1)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        mock_clock.jump(1)
        await done.wait()


# --- many at once ----------------------------------------------------------------------------------------------------


async def all_well(endpoint: Endpoint, provider: Provider) -> None:
    """As many as may ask at once are answered at once."""
    gate, before = provider.hold(KEYS), provider.asked[KEYS]
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(endpoint.get)
        await trio.to_thread.run_sync(provider.wait_until_asked, KEYS, before + CONNECTIONS)
        gate.set()


class Crowd:
    """So many who ask at once until they give up, and what they are told."""

    def __init__(self, endpoint: Endpoint, size: int) -> None:
        self.told: Counter[BackendResult | int] = Counter()
        self._endpoint = endpoint
        self._size = size
        self._patience = trio.CancelScope()

    async def ask(self) -> None:
        with self._patience:
            async with trio.open_nursery() as nursery:
                for _ in range(self._size):
                    nursery.start_soon(self._ask)

    def give_up(self) -> None:
        self._patience.cancel()

    async def _ask(self) -> None:
        try:
            self.told[(await self._endpoint.get()).status] += 1
        except NoAnswer as failed:
            self.told[failed.result] += 1


async def test_a_provider_that_hangs_and_recovers_serves_all_again(provider: Provider, mock_clock: MockClock) -> None:
    gate, size = provider.hold(KEYS), 3 * CONNECTIONS
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        crowd = Crowd(endpoint, size)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.ask)
            await trio.to_thread.run_sync(provider.wait_until_asked, KEYS, CONNECTIONS)
            await wait_all_tasks_blocked()
            assert provider.asked[KEYS] == CONNECTIONS
            mock_clock.jump(ANSWER_SECONDS)
        assert crowd.told == {BackendResult.TIMED_OUT: size}
        gate.set()
        again = Crowd(endpoint, size)
        await again.ask()
        assert again.told == {200: size}
        await all_well(endpoint, provider)


async def test_no_connection_is_lost_when_many_give_up_one_after_the_other(provider: Provider) -> None:
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint:
        for steps in range(10):  # how many it takes until a connection passes on is the client's affair
            gate, before = provider.hold(KEYS), provider.asked[KEYS]
            first, later = Crowd(endpoint, CONNECTIONS), Crowd(endpoint, CONNECTIONS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.ask)
                await trio.to_thread.run_sync(provider.wait_until_asked, KEYS, before + CONNECTIONS)
                nursery.start_soon(later.ask)
                await wait_all_tasks_blocked()
                first.give_up()
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                later.give_up()
            gate.set()
        await all_well(endpoint, provider)


async def test_of_too_many_who_wait_the_last_are_told_at_once(provider: Provider) -> None:
    gate = provider.hold(KEYS)
    async with Endpoint(provider.jwks_url, provider.ca_file) as endpoint, trio.open_nursery() as nursery:
        crowd = Crowd(endpoint, CONNECTIONS + WAITING)
        nursery.start_soon(crowd.ask)
        await trio.to_thread.run_sync(provider.wait_until_asked, KEYS, CONNECTIONS)
        await wait_all_tasks_blocked()
        assert crowd.told == {}
        with pytest.raises(NoAnswer) as caught:
            await endpoint.get()
        assert caught.value.result is BackendResult.BUSY
        gate.set()
    assert crowd.told == {200: CONNECTIONS + WAITING}


# --- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://localhost/keys", "https://", "https://[::1/keys", "https://a:99999999/"])
def test_only_https_urls_are_accepted(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Endpoint(url, None)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Endpoint("https://localhost/", tmp_path / "missing.pem")


# --- who gatepost is -------------------------------------------------------------------------------------------------


async def test_a_client_with_a_secret_does_not_put_it_into_the_form(provider: Provider) -> None:
    client = Client(CLIENT, Secret(b"c1ient:s3cret%+"))
    async with Endpoint(provider.introspection_url, provider.ca_file) as endpoint:
        reply = await endpoint.post({"token": Secret(b"a+b/c=")}, client)
    assert reply.require() == {"active": False}
    assert provider.forms == [{"token": "a+b/c="}]
    assert provider.asked == {INTROSPECTION: 1}


async def test_a_public_client_says_who_it_is_in_the_form(provider: Provider) -> None:
    async with Endpoint(provider.introspection_url, provider.ca_file) as endpoint:
        assert (await endpoint.post({"token": "t"}, Client(CLIENT))).status == 200
        assert (await endpoint.post({"token": "t"}, Client("someone else"))).status == 401
        assert (await endpoint.post({"token": "t"}, Client(""))).status == 401
    assert [form.get("client_id") for form in provider.forms] == [CLIENT, "someone else", None]


async def test_an_error_of_the_token_endpoint_is_for_the_caller(provider: Provider) -> None:
    async with Endpoint(provider.token_url, provider.ca_file) as endpoint:
        form = {"grant_type": "refresh_token", "refresh_token": "unknown"}
        reply = await endpoint.post(form, Client(CLIENT))
    assert reply.status == 400
    assert reply.document is not None
    assert reply.document["error"] == "invalid_grant"


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_a_secret_file_holds_the_secret_and_perhaps_an_end_of_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert Client.load("id", tmp_path / "secret") == Client("id", Secret(b"s3cret"))


def test_an_empty_secret_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\n")
    with pytest.raises(ValueError, match="is empty"):
        Client.load("id", tmp_path / "secret")


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, Answer(hang_up=True), Answer(200, CANARY.encode()), Answer.json({}, 500)])
async def test_no_exception_holds_a_secret(provider: Provider, answer: Answer | None) -> None:
    if answer is None:
        provider.die()
    else:
        provider.lies[TOKENS] = answer
    async with Endpoint(provider.token_url, provider.ca_file) as endpoint:
        with pytest.raises(NoAnswer) as caught:
            (await endpoint.post({"refresh_token": Secret(CANARY.encode())}, Client(CANARY, None))).require()
    error = caught.value
    assert (error.__context__, error.__cause__) == (None, None)
    assert CANARY not in "".join(traceback.format_exception(error))


def test_what_holds_secrets_does_not_print_them() -> None:
    assert CANARY not in repr(Reply(200, {"access_token": CANARY}))
    assert CANARY not in repr(Client("id", Secret(CANARY.encode())))
