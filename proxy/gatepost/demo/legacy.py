"""A small legacy mail server: SMTP on loopback with AUTH PLAIN LOGIN and no TLS, which records what it gets.

It is honest: it answers as RFC 5321, 4954, 1870 and 6152 say, ends a message at CRLF.CRLF and nowhere else, and says
250 to a message only after recording it. It asks nobody to log in: whether gatepost does is what is to be seen. It
delivers nothing.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import trio

LINE_BYTES = 12_288 + 2  # an AUTH line (RFC 4954 section 4.3) is the longest that may come
MESSAGE_BYTES = 64 * 1024 * 1024
HELLO = b"250-legacy.example\r\n250-SIZE %d\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN" % MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that were right, and how they came; the password is not kept here."""

    mechanism: bytes
    user: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was answered with 250."""

    sender: bytes  # what stood behind MAIL, parameters included
    recipients: tuple[bytes, ...]  # what stood behind each RCPT
    octets: bytes  # as received, dots still stuffed, up to the CRLF before the final dot

    @property
    def content(self) -> bytes:
        """The message without dot-stuffing (RFC 5321 section 4.5.2)."""
        return (b"\r\n" + self.octets).replace(b"\r\n.", b"\r\n")[2:]


@dataclass(slots=True)
class Session:
    """What one connection brought."""

    lines: list[bytes] = field(default_factory=list, repr=False)  # commands and AUTH answers; they hold passwords
    logins: list[Login] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event, repr=False)


class _Gone(Exception):
    """The client closed the connection, or sent a line that is too long."""


class LegacyServer:
    """Listens on 127.0.0.1; `sessions` grows by one for each connection, in the order they came."""

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        self._users = users  # login name -> password
        self.sessions: list[Session] = []

    @property
    def messages(self) -> list[Message]:
        return [message for session in self.sessions for message in session.messages]

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the port once it listens."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        start = partial(trio.serve_listeners, self._converse, listeners)
        async with trio.open_nursery() as nursery:
            await nursery.start(start)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _converse(self, stream: trio.SocketStream) -> None:
        session = Session()
        self.sessions.append(session)
        try:
            async with stream:
                await _Conversation(stream, self._users, session).run()
        except (_Gone, trio.BrokenResourceError):
            pass  # the record says how far it came
        finally:
            session.ended.set()


class _Conversation:
    """One connection. Each verb has a method; it returns the reply, without its CRLF."""

    def __init__(self, stream: trio.SocketStream, users: Mapping[bytes, bytes], session: Session) -> None:
        self._stream = stream
        self._users = users
        self._session = session
        self._received = bytearray()
        self._greeted = False
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._verbs: dict[bytes, Callable[[bytes], Awaitable[bytes]]] = {
            b"EHLO": self._hello,
            b"HELO": self._hello,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._reset,
            b"NOOP": self._noop,
        }

    async def run(self) -> None:
        await self._say(b"220 legacy.example ESMTP, since 1998")
        while True:
            verb, _, rest = (await self._line()).partition(b" ")
            if verb.upper() == b"QUIT":
                await self._say(b"221 Bye")
                return
            act = self._verbs.get(verb.upper())
            await self._say(b"500 Unknown command" if act is None else await act(rest.strip()))

    async def _hello(self, _: bytes) -> bytes:
        self._greeted = True
        self._forget_transaction()
        verb = self._session.lines[-1][:4].upper()
        return HELLO if verb == b"EHLO" else b"250 legacy.example"

    async def _auth(self, rest: bytes) -> bytes:
        if not self._greeted or self._session.logins or self._sender is not None:
            return b"503 Not now"
        mechanism, _, initial = rest.partition(b" ")
        mechanism = mechanism.upper()
        if mechanism not in {b"PLAIN", b"LOGIN"}:
            return b"504 Unknown mechanism"
        try:
            if mechanism == b"PLAIN":
                _, user, password = (await self._answer(b"", initial)).split(b"\0")
            else:
                user = await self._answer(b"Username:", initial)
                password = await self._answer(b"Password:")
        except ValueError:  # not base64, which "*" is not either, or not the form of PLAIN
            return b"501 Cannot decode"
        if self._users.get(user) != password:
            return b"535 Authentication failed"
        self._session.logins.append(Login(mechanism, user))
        return b"235 Welcome"

    async def _mail(self, rest: bytes) -> bytes:
        if not self._greeted or self._sender is not None:
            return b"503 Not now"
        declared = re.search(rb" SIZE=(\d{1,20})(?: |$)", rest, re.IGNORECASE)
        if declared and int(declared[1]) > MESSAGE_BYTES:
            return b"552 Too big"
        self._sender = rest
        return b"250 Sender noted"

    async def _rcpt(self, rest: bytes) -> bytes:
        if self._sender is None:
            return b"503 MAIL first"
        self._recipients.append(rest)
        return b"250 Recipient noted"

    async def _data(self, _: bytes) -> bytes:
        if self._sender is None or not self._recipients:
            return b"503 MAIL and RCPT first"
        await self._say(b"354 Go ahead, end with a dot")
        octets = await self._body()
        message = Message(self._sender, tuple(self._recipients), octets)
        self._forget_transaction()
        if len(octets) > MESSAGE_BYTES:
            return b"552 Too big"
        self._session.messages.append(message)
        return b"250 Message recorded"

    async def _reset(self, _: bytes) -> bytes:
        self._forget_transaction()
        return b"250 Forgotten"

    async def _noop(self, _: bytes) -> bytes:
        return b"250 Still here"

    def _forget_transaction(self) -> None:
        self._sender = None
        self._recipients = []

    async def _answer(self, challenge: bytes, initial: bytes = b"") -> bytes:
        """The client's answer to a challenge, or its initial response; ValueError: not base64."""
        if not initial:
            await self._say(b"334 " + b64encode(challenge))
            initial = await self._line()
        return b"" if initial == b"=" else b64decode(initial, validate=True)

    async def _say(self, reply: bytes) -> None:
        await self._stream.send_all(reply + b"\r\n")

    async def _line(self) -> bytes:
        """The next line without its ending; it is recorded with it."""
        while (end := self._received.find(b"\n") + 1) == 0:
            if len(self._received) > LINE_BYTES:
                raise _Gone
            await self._receive()
        line = bytes(self._received[:end])
        del self._received[:end]
        self._session.lines.append(line)
        return line.rstrip(b"\r\n")

    async def _body(self) -> bytes:
        """Everything up to the CRLF of CRLF.CRLF; the CRLF of DATA itself counts as the first (section 4.1.1.4)."""
        searched = 0
        while not self._received.startswith(b".\r\n"):
            if (end := self._received.find(b"\r\n.\r\n", max(0, searched - 4))) >= 0:
                octets = bytes(self._received[: end + 2])
                del self._received[: end + 5]
                return octets
            searched = len(self._received)
            await self._receive()
        del self._received[:3]
        return b""

    async def _receive(self) -> None:
        data = await self._stream.receive_some()
        if not data:
            raise _Gone
        self._received += data
