"""The endpoint for Prometheus and for whoever asks whether gatepost lives: /metrics, /livez, /readyz.

A small HTTP/1.1 server on h11, on the same loop as everything else, so that an answer shows that the loop turns.
Bounded: so many connections at once, so much header (h11's own 16 KiB), so many seconds for a request.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from gatepost.observe.metrics import Metrics

CONNECTIONS = 32
SECONDS = 5.0
READ_BYTES = 16_384
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served. `not_ready` gives the reasons for not being ready, none when all is well."""

    metrics: Metrics
    not_ready: Callable[[], list[str]]

    def answer(self, request: h11.Request) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body."""
        if request.method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"GET or HEAD\n"
        path = request.target.partition(b"?")[0]
        if path == b"/metrics":
            accept = b",".join(value for name, value in request.headers if name == b"accept").decode("latin-1")
            content_type, body = self.metrics.exposition(accept)
            return HTTPStatus.OK, content_type, body
        if path == b"/livez":
            return HTTPStatus.OK, TEXT, b"alive\n"
        if path == b"/readyz":
            reasons = self.not_ready()
            if reasons:
                return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, "".join(f"{reason}\n" for reason in reasons).encode()
            return HTTPStatus.OK, TEXT, b"ready\n"
        return HTTPStatus.NOT_FOUND, TEXT, b"/metrics /livez /readyz\n"


async def serve(listening: socket.socket, pages: Pages) -> None:
    """Serve on a listening socket until cancelled."""
    places = trio.CapacityLimiter(CONNECTIONS)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:  # one that waits for a place holds a descriptor, which the mail may need
            await trio.aclose_forcefully(stream)
            return
        try:
            await _handle(stream, pages)
        finally:
            places.release()

    await trio.serve_listeners(handle, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))])


async def _handle(stream: trio.SocketStream, pages: Pages) -> None:
    """One connection: request after request, until the client leaves or is too slow."""
    connection = h11.Connection(h11.SERVER)
    try:
        while True:
            with trio.move_on_after(SECONDS) as patience:
                await _serve_one(stream, connection, pages)
            if patience.cancelled_caught or connection.our_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except (OSError, trio.BrokenResourceError, h11.ProtocolError):
        pass  # the client is gone, or speaks no HTTP
    finally:
        await trio.aclose_forcefully(stream)


async def _serve_one(stream: trio.SocketStream, connection: h11.Connection, pages: Pages) -> None:
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            break
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise trio.BrokenResourceError
    try:
        status, content_type, body = pages.answer(request)
    except Exception:  # noqa: BLE001  a bug in a page must not end the mail service
        status, content_type, body = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"internal fault\n"
    headers = [("content-type", content_type), ("content-length", str(len(body)))]
    data = connection.send(h11.Response(status_code=status, headers=headers, reason=status.phrase)) or b""
    if request.method != b"HEAD":
        data += connection.send(h11.Data(data=body)) or b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
