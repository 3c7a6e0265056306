"""An SMTP client that does as it is told, good or bad. It blocks, and never verifies whom it talks to unless asked."""

from __future__ import annotations

import hmac
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from scramp import ScramClient  # type: ignore[import-untyped]

from processes import PATIENCE_SECONDS

ACCEPTED = 235


class Unexpected(Exception):
    """A reply that the script of the night did not foresee."""


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str = field(repr=False)


class Client:
    """One connection, from an address of its own. Leaving the block closes it, QUIT or not."""

    def __init__(self, port: int, source: str) -> None:
        address = ("127.0.0.1", port)
        self._socket = socket.create_connection(address, PATIENCE_SECONDS, source_address=(source, 0))
        self._lines = self._socket.makefile("rb")
        self.text = b""  # of the last reply, without its code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    # --- speaking ---

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def reply(self) -> int:
        """The code of the next reply; 0 when the connection has ended instead."""
        while (line := self._lines.readline())[3:4] == b"-":
            pass
        self.text = line[4:].strip()
        return int(line[:3] or 0)

    def say(self, command: str) -> int:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def expect(self, code: int, command: str | None = None) -> None:
        """Say something, or only listen, and hear just that."""
        heard = self.reply() if command is None else self.say(command)
        if heard != code:
            raise Unexpected(f"{heard} {self.text.decode()} instead of {code}")

    def drain(self) -> None:
        """Read to the end of the connection: the peer has closed it."""
        try:
            while self._lines.read(65536):
                pass
        except OSError:
            pass  # reset, which is an end as well

    def quit(self) -> None:
        self.expect(221, "QUIT")
        self.drain()
        self.close()

    # --- TLS ---

    def secure(self, context: ssl.SSLContext, name: str, session: ssl.SSLSession | None = None) -> None:
        """Shake hands. Raises ssl.SSLError or another OSError, and is closed then."""
        self._lines.close()
        self._socket = context.wrap_socket(self._socket, server_hostname=name, session=session)
        self._lines = self._socket.makefile("rb")

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can resume; complete when something was read."""
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def is_resumed(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.session_reused)

    # --- AUTH and mail ---

    def log_in(self, mechanism: str, account: Account) -> int:
        """A whole AUTH; the code that ends it."""
        initial, answers = _EXCHANGES[mechanism](account)
        code = self.say(f"AUTH {mechanism}" + (f" {_text(initial)}" if initial is not None else ""))
        for answer in answers:
            if code != 334:  # noqa: PLR2004  the reply that asks for more
                break
            code = self.say(_text(answer(b64decode(self.text))))
        return code

    def mail(self, sender: str, recipients: tuple[str, ...], message: bytes) -> int:
        """A whole transaction; the code of its verdict, or of the recipient that was refused."""
        self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            if (code := self.say(f"RCPT TO:<{recipient}>")) != 250:  # noqa: PLR2004  as it should be
                return code
        self.expect(354, "DATA")
        self.send(message + b"\r\n.\r\n")
        return self.reply()


Answer = Callable[[bytes], bytes]
Exchange = tuple[bytes | None, list[Answer]]  # the initial response, and what answers each challenge


def _plain(account: Account) -> Exchange:
    return f"\0{account.user}\0{account.password}".encode(), []


def _login(account: Account) -> Exchange:
    return None, [lambda _: account.user.encode(), lambda _: account.password.encode()]


def _cram(account: Account) -> Exchange:
    def prove(challenge: bytes) -> bytes:
        return f"{account.user} {hmac.new(account.password.encode(), challenge, 'md5').hexdigest()}".encode()

    return None, [prove]


def _scram(mechanism: str, account: Account) -> Exchange:
    client = ScramClient([mechanism], account.user, account.password)

    def prove(challenge: bytes) -> bytes:
        client.set_server_first(challenge.decode())
        final: str = client.get_client_final()
        return final.encode()

    def verify(challenge: bytes) -> bytes:
        client.set_server_final(challenge.decode())
        return b""

    return client.get_client_first().encode(), [prove, verify]


_EXCHANGES: dict[str, Callable[[Account], Exchange]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram,
    "SCRAM-SHA-1": lambda account: _scram("SCRAM-SHA-1", account),
    "SCRAM-SHA-256": lambda account: _scram("SCRAM-SHA-256", account),
}


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()
