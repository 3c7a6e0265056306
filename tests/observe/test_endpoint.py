"""The endpoint, over real loopback connections."""

import http.client
import io
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import h11
import pytest
import trio

from gatepost.facts import Measured
from gatepost.observe import endpoint, logs
from gatepost.observe.observer import Observer
from gatepost.observe.table import TABLE
from gatepost.settings import LogSettings
from observe.settings_made import settings_with

Answer = tuple[int, str, bytes]


def pages(not_ready: Callable[[], list[str]], *, loopback: bool = True) -> endpoint.Pages:
    observer = Observer(settings_with("mx"), logs.configure(LogSettings(), io.StringIO()))
    measured = Measured({("mx", "tls_ready"): 2}, {"mx": 1})
    return endpoint.Pages(observer, lambda: measured, not_ready, lambda: "127.0.0.1:25", loopback=loopback)


@asynccontextmanager
async def serving(reasons: list[str]) -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)  # noqa: FBT003  the stdlib has it so
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.serve, listening, pages(lambda: reasons))
        yield listening.getsockname()[1]
        nursery.cancel_scope.cancel()


def ask(port: int, path: str, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read()
    finally:
        connection.close()


async def asked(port: int, path: str, method: str = "GET") -> Answer:
    return await trio.to_thread.run_sync(partial(ask, port, path, method))


async def test_metrics_are_served() -> None:
    async with serving([]) as port:
        status, content_type, body = await asked(port, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain")
    assert b'gatepost_conversations_active{listener="mx",phase="tls_ready"} 2.0' in body
    assert b'gatepost_accept_queue_length{listener="mx"} 1.0' in body


async def test_the_status_page_is_served_with_how_things_stand_now_and_may_load_nothing() -> None:
    def headers(port: int) -> http.client.HTTPMessage:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        found = connection.getresponse().headers
        connection.close()
        return found

    async with serving([]) as port:
        status, content_type, body = await asked(port, "/")
        policy = (await trio.to_thread.run_sync(headers, port))["content-security-policy"]
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    assert b'<th scope="col">tls_ready</th></tr></thead><tbody><tr><th scope="row">mx</th><td>2</td>' in body
    assert policy.startswith("default-src 'none';")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9587", 200),
        ("[::1]:9587", 200),
        ("[::1]", 200),
        ("LocalHost:9587", 200),
        ("evil.example", 421),
        ("evil.example:9587", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_on_loopback_nobody_reads_it_by_a_foreign_name(host: str, status: int) -> None:
    request = h11.Request(method="GET", target="/", headers=[("host", host)])
    assert (await pages(list).answer(request)).status == status
    assert (await pages(list, loopback=False).answer(request)).status == 200


async def test_a_scrape_lets_others_run_between_its_pieces() -> None:
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    request = h11.Request(method="GET", target="/metrics", headers=[("host", "127.0.0.1:9587")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(somebody_else)
        await pages(list).answer(request)
        nursery.cancel_scope.cancel()
    assert turns >= len(TABLE)


async def test_it_lives_and_is_ready() -> None:
    async with serving([]) as port:
        assert (await asked(port, "/livez"))[0] == 200
        assert await asked(port, "/readyz") == (200, endpoint.TEXT, b"ready\n")


async def test_reasons_for_not_being_ready_are_given_a_line_each() -> None:
    async with serving(["upstream: unreachable", "stopping"]) as port:
        assert await asked(port, "/readyz") == (503, endpoint.TEXT, b"upstream: unreachable\nstopping\n")
        assert (await asked(port, "/livez"))[0] == 200


async def test_other_paths_and_methods_are_refused() -> None:
    async with serving([]) as port:
        assert (await asked(port, "/status"))[0] == 404
        assert (await asked(port, "/metrics", "POST"))[0] == 405


async def test_head_has_no_body() -> None:
    async with serving([]) as port:
        status, _, body = await asked(port, "/metrics", "HEAD")
    assert (status, body) == (200, b"")


async def test_several_requests_go_over_one_connection() -> None:
    def twice(port: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        statuses = []
        for _ in range(2):
            connection.request("GET", "/livez")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses

    async with serving([]) as port:
        assert await trio.to_thread.run_sync(twice, port) == [200, 200]


async def test_garbage_and_huge_headers_close_their_own_connection_only() -> None:
    async with serving([]) as port:
        for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, b"\r\n" * 50_000):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                with trio.fail_after(10):
                    try:
                        await stream.send_all(junk)
                        await stream.send_eof()
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass  # closed on us: that is what it should do
        assert (await asked(port, "/livez"))[0] == 200


async def test_an_accept_header_that_makes_no_sense_gets_plain_text_and_ends_nothing() -> None:
    def ask_oddly(port: int, accept: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": accept})
        status = connection.getresponse().status
        connection.close()
        return status

    async with serving([]) as port:
        for accept in ("text/plain;version=abc", "application/openmetrics-text;version=x"):
            assert await trio.to_thread.run_sync(ask_oddly, port, accept) == 200
        assert (await asked(port, "/livez"))[0] == 200


async def test_a_bug_in_a_page_is_a_500_and_ends_nothing() -> None:
    def broken() -> list[str]:
        raise RuntimeError

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)  # noqa: FBT003  the stdlib has it so
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.serve, listening, pages(broken))
        port = listening.getsockname()[1]
        assert (await asked(port, "/readyz"))[0] == 500
        assert (await asked(port, "/livez"))[0] == 200
        nursery.cancel_scope.cancel()


async def test_a_connection_too_many_is_closed_at_once() -> None:
    async with serving([]) as port:
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(endpoint.CONNECTIONS)]
        one_more = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(endpoint.SECONDS / 2):  # before a place becomes free
            assert await one_more.receive_some() == b""
        for stream in (*silent, one_more):
            await stream.aclose()
