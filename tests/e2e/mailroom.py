"""Where Postfix delivers: an LMTP server (RFC 2033) that keeps each message, octet for octet, with its envelope."""

from __future__ import annotations

import queue
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase

from e2e.spoken import PATIENCE_SECONDS

# Postfix puts its own trace in front (RFC 5321 section 4.4); what follows is the message as it was handed over.
_TRACE = re.compile(rb"Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_OFFER = b"250-mailroom\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 PIPELINING\r\n"


@dataclass(frozen=True)
class Delivery:
    """One message as delivered. `sender` and `recipients` are addresses with their parameters."""

    sender: bytes
    recipients: tuple[bytes, ...]
    trace: bytes
    message: bytes


class Mailroom:
    """Takes everything. Unused deliveries are forgotten by `clear`."""

    def __init__(self) -> None:
        self._delivered: queue.Queue[Delivery] = queue.Queue()
        self.port = 0

    def next(self) -> Delivery:
        """The next delivery; waits for it."""
        return self._delivered.get(timeout=PATIENCE_SECONDS)

    def clear(self) -> None:
        while not self._delivered.empty():
            self._delivered.get_nowait()

    @contextmanager
    def open(self) -> Iterator[None]:
        mailroom = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mailroom._serve(self.rfile, self.connection)

        with _Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def _serve(self, heard: BufferedIOBase, connection: socket.socket) -> None:
        connection.sendall(b"220 mailroom\r\n")
        sender, recipients = b"", list[bytes]()
        for line in heard:
            verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
            address = argument.partition(b":")[2]
            if verb == b"QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            if verb == b"LHLO":
                connection.sendall(_OFFER)
            elif verb == b"DATA":
                connection.sendall(b"354 go\r\n")
                trace, message = _split(_content(heard))
                self._delivered.put(Delivery(sender, tuple(recipients), trace, message))
                connection.sendall(b"250 2.0.0 kept\r\n" * len(recipients))  # RFC 2033 section 4.2: one for each
            else:
                if verb == b"MAIL":
                    sender, recipients = address, []
                elif verb == b"RCPT":
                    recipients.append(address)
                connection.sendall(b"250 2.0.0 ok\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True  # Postfix may keep a connection for the next message
    block_on_close = False


def _content(heard: BufferedIOBase) -> bytes:
    lines = []
    for line in heard:
        if line == b".\r\n":
            break
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


def _split(content: bytes) -> tuple[bytes, bytes]:
    trace = _TRACE.match(content)
    end = trace.end() if trace else 0
    return content[:end], content[end:]
