"""A legacy server that has a bad night: it becomes slow, it is down, and comes back with other mechanisms.

SMTP with STARTTLS, no TLS newer than 1.2, and the logins of one table of users. It delivers nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import socketserver
import ssl
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scramp import ScramMechanism  # type: ignore[import-untyped]

SCRAM, ITERATIONS = ScramMechanism("SCRAM-SHA-256"), 4096
CHALLENGE = b"<1896.697170952@legacy.example>"  # RFC 2195 section 2
NOBODY = b"nobody@"  # has no mailbox here
UNWANTED = b"winner@"  # what it sends is refused when it has come


@dataclass
class Legacy:
    """Stopped at first; each start is on the same port."""

    users: Mapping[str, str]  # login -> password
    certificate: Path  # PEM, with its key
    port: int
    mechanisms: str = "PLAIN LOGIN"
    delay_seconds: float = 0.0  # before the reply to a login, and to a message
    _server: _Server | None = field(default=None, repr=False)

    def start(self) -> None:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,)).start()

    def stop(self) -> None:
        """Also ends the conversations that are open."""
        if self._server is not None:
            self._server.end()
        self._server = None

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate)
        return context


_POLL_SECONDS = 0.01  # how soon the thread that listens sees that it is to end


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, legacy: Legacy) -> None:
        self.legacy = legacy
        self.context = legacy.context()
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", legacy.port), _Conversation)

    def end(self) -> None:
        self.shutdown()
        for connection in tuple(self.open):
            with suppress(OSError):  # it ended meanwhile
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's own, which another thread is using
        self.server_close()  # waits for the threads of the conversations


class _Conversation(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        verbs: dict[bytes, Callable[[bytes], bytes]] = {
            b"EHLO": self._hello,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": lambda rest: b"550 5.1.1 No such mailbox" if NOBODY in rest else b"250 2.1.5 Ok",
            b"DATA": self._data,
            b"BDAT": self._chunk,
        }
        self._lines = self.request.makefile("rb")
        self._sender = b""
        with suppress(OSError):  # the peer is gone, or `end` ended it
            self._say(b"220 legacy.example ESMTP")
            while line := self._lines.readline():
                verb, _, rest = line.strip().partition(b" ")
                if verb == b"STARTTLS":
                    self._say(b"220 2.0.0 Go ahead")
                    self._secure()
                elif verb == b"QUIT":
                    self._say(b"221 2.0.0 Bye")
                    return
                else:
                    self._say(verbs[verb](rest) if verb in verbs else b"250 2.0.0 Ok")

    def setup(self) -> None:
        self.server.open.add(self.request)

    def finish(self) -> None:
        self._lines.close()
        self.server.open.discard(self.request)
        self.request.close()

    def _secure(self) -> None:
        clear = self.request
        self._lines.close()
        self.request = self.server.context.wrap_socket(clear, server_side=True)
        self.server.open.discard(clear)
        self.server.open.add(self.request)
        self._lines = self.request.makefile("rb")

    def _say(self, reply: bytes) -> None:
        self.request.sendall(reply + b"\r\n")

    def _hello(self, _: bytes) -> bytes:
        more = b"" if isinstance(self.request, ssl.SSLSocket) else b"250-STARTTLS\r\n"
        mechanisms = self.server.legacy.mechanisms.encode()
        return b"250-legacy.example\r\n%b250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 AUTH %b" % (
            more,
            mechanisms,
        )

    def _auth(self, rest: bytes) -> bytes:
        mechanism, _, initial = rest.partition(b" ")
        users = self.server.legacy.users
        if mechanism == b"PLAIN":
            _, user, shown = b64decode(initial or self._ask(b"")).decode().split("\0")
            right = users.get(user)
        elif mechanism == b"LOGIN":
            user = b64decode(initial or self._ask(b"Username:")).decode()
            shown, right = b64decode(self._ask(b"Password:")).decode(), users.get(user)
        elif mechanism == b"CRAM-MD5":
            user, _, shown = b64decode(self._ask(CHALLENGE)).decode().partition(" ")
            right = hmac.new(users.get(user, "").encode(), CHALLENGE, "md5").hexdigest()
        else:
            shown, right = "proven", self._scram(initial)
        self._wait()
        return b"235 2.7.0 Welcome" if right == shown else b"535 5.7.8 Authentication failed"

    def _scram(self, initial: bytes) -> str:
        """Raises ScramException for a wrong password, which nobody has who gets here."""
        server = SCRAM.make_server(self._verifier)
        server.set_client_first(b64decode(initial).decode())
        server.set_client_final(b64decode(self._ask(server.get_server_first().encode())).decode())
        self._ask(server.get_server_final().encode())
        return "proven"

    def _verifier(self, user: str) -> object:
        salt = hashlib.sha256(user.encode()).digest()[:16]  # the same at each login, as in a real server
        return SCRAM.make_auth_info(self.server.legacy.users[user], iteration_count=ITERATIONS, salt=salt)

    def _ask(self, challenge: bytes) -> bytes:
        self._say(b"334 " + b64encode(challenge))
        return self._lines.readline()

    def _mail(self, rest: bytes) -> bytes:
        self._sender = rest
        return b"250 2.1.0 Ok"

    def _data(self, _: bytes) -> bytes:
        self._say(b"354 Go ahead")
        while self._lines.readline() not in (b".\r\n", b""):
            pass
        return self._verdict()

    def _chunk(self, rest: bytes) -> bytes:
        size, _, last = rest.partition(b" ")
        self._lines.read(int(size))
        return self._verdict() if last else b"250 2.0.0 Chunk received"

    def _verdict(self) -> bytes:
        self._wait()
        return b"554 5.7.1 Unwanted" if UNWANTED in self._sender else b"250 2.0.0 Accepted"

    def _wait(self) -> None:
        time.sleep(self.server.legacy.delay_seconds)
