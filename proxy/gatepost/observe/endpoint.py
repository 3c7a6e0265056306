"""The endpoint for people, for Prometheus, and for whoever asks whether gatepost lives: / /metrics /livez /readyz.

A small HTTP/1.1 server on h11, on the same loop as everything else, so that an answer shows that the loop turns.
Bounded: so many connections at once, so much header (h11's own 16 KiB), so many seconds for a request.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import h11
import trio

from gatepost.facts import Measured
from gatepost.observe import page
from gatepost.observe.observer import Observer
from gatepost.observe.status import gather
from gatepost.settings import Address

CONNECTIONS = 32
SECONDS = 5.0
READ_BYTES = 16_384
TEXT = "text/plain; charset=utf-8"
PORT = re.compile(r":[0-9]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served. `not_ready` gives the reasons for not being ready, none when all is well."""

    observer: Observer
    measure: Callable[[], Measured]
    not_ready: Callable[[], list[str]]
    upstream: Callable[[], str]  # its address
    loopback: bool  # nobody but this machine reaches it
    began: float = field(default_factory=time.time)

    async def answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(b"GET or HEAD\n", HTTPStatus.METHOD_NOT_ALLOWED, headers=[("allow", "GET, HEAD")])
        if self.loopback and not _is_of_this_machine(request):
            return Answer(b"by an IP address or localhost only\n", HTTPStatus.MISDIRECTED_REQUEST)
        return await self._page(request)

    async def _page(self, request: h11.Request) -> Answer:
        match request.target.partition(b"?")[0]:
            case b"/":
                return await self._status()
            case b"/metrics":
                return await self._metrics(b",".join(value for name, value in request.headers if name == b"accept"))
            case b"/livez":
                return Answer(b"alive\n")
            case b"/readyz":
                return self._ready()
        return Answer(b"/ /metrics /livez /readyz\n", HTTPStatus.NOT_FOUND)

    async def _status(self) -> Answer:
        await self._measure()
        body = page.render(gather(self.observer, self.upstream(), self.began), time.time())
        return Answer(body, content_type=page.CONTENT_TYPE, headers=page.HEADERS)

    def _ready(self) -> Answer:
        if reasons := self.not_ready():
            return Answer("".join(f"{reason}\n" for reason in reasons).encode(), HTTPStatus.SERVICE_UNAVAILABLE)
        return Answer(b"ready\n")

    async def _measure(self) -> None:
        """All that has happened is told first, so that an answer is never behind."""
        self.observer.record(self.measure())
        await self.observer.catch_up()

    async def _metrics(self, accept: bytes) -> Answer:
        """Piece by piece: all at once would hold up every conversation."""
        await self._measure()
        content_type, pieces = self.observer.metrics.exposition(accept.decode("latin-1"))
        body = bytearray()
        for piece in pieces:
            body += piece
            await trio.lowlevel.checkpoint()
        return Answer(bytes(body), content_type=content_type)


def _is_of_this_machine(request: h11.Request) -> bool:
    """Not by a name that a web site made point here, so that a browser on this machine reads for it (DNS rebinding)."""
    values = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
    hosts = [Address(PORT.sub("", value).strip("[]"), 0) for value in values]
    return all(host.ip is not None or host.loopback for host in hosts)


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
        answer = await pages.answer(request)
    except Exception:  # noqa: BLE001  a bug in a page must not end the mail service
        answer = Answer(b"internal fault\n", HTTPStatus.INTERNAL_SERVER_ERROR)
    length = str(len(answer.body))
    headers = [("content-type", answer.content_type), ("content-length", length), *answer.headers]
    head = h11.Response(status_code=answer.status, headers=headers, reason=answer.status.phrase)
    data = connection.send(head) or b""
    if request.method != b"HEAD":
        data += connection.send(h11.Data(data=answer.body)) or b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
