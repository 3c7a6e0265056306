"""An identity provider on real HTTPS, in a thread of its own: keys, introspection, tokens; honest until it is told.

with running(trustme.CA()) as provider:
    token = provider.mint("alice@example.com")
    ... provider.jwks_url, provider.ca_file ...
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import trustme
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

PATIENCE_SECONDS = 20.0
KEYS = "/keys"
INTROSPECTION = "/introspection"
TOKENS = "/tokens"
CLIENT = "gate:post+"  # colon and plus show whether they were encoded (RFC 6749 section 2.3.1)
CLIENT_SECRET = "c1ient:s3cret%+"

SigningKey = RSAKey | ECKey | OKPKey | OctKey


@dataclass(frozen=True)
class Answer:
    """What is sent instead of the honest answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False

    @classmethod
    def json(cls, document: object, status: int = 200) -> Answer:
        return cls(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


class Provider:
    """Its settings may be changed at any time; it reads them at each request."""

    def __init__(self, ca_file: Path) -> None:
        self.ca_file = ca_file
        self.audience = "gatepost"
        self.keys: list[SigningKey] = []
        self.rotate()
        self.active: dict[str, dict[str, Any]] = {}  # what introspection says of a token
        self.refresh_tokens: dict[str, str] = {}  # the user of each that is good
        self.rotates_refresh_tokens = False
        self.grants: dict[str, Any] = {"token_type": "Bearer", "expires_in": 3600}  # beside the token
        self.lies: dict[str, Answer] = {}  # by path
        self.forms: list[dict[str, str]] = []  # what was posted, oldest first
        self.headers: list[Mapping[str, str]] = []  # of each request, oldest first
        self.asked: Counter[str] = Counter()  # requests by path
        self._arrived = threading.Condition()
        self._gates: dict[str, threading.Event] = {}
        self._server: _Server | None = None
        self._port = 0

    # --- for tests -----------------------------------------------------------------------------------------------

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self._port}"

    @property
    def jwks_url(self) -> str:
        return self.issuer + KEYS

    @property
    def introspection_url(self) -> str:
        return self.issuer + INTROSPECTION

    @property
    def token_url(self) -> str:
        return self.issuer + TOKENS

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on, and publish only that."""
        self.keys = [ECKey.generate_key("P-256", {"kid": f"key-{time.monotonic_ns()}", "use": "sig", "alg": "ES256"})]
        return self.keys[0]

    def key_set(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def claims(self, user: str = "alice@example.com", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        """What an honest token says; a change to None leaves the claim out."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + 600, "email": user, "sub": "4711"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def mint(
        self,
        user: str = "alice@example.com",
        *,
        header: Mapping[str, Any] | None = None,
        key: SigningKey | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> str:
        """A JWT, signed with the first key unless another is given; changes to the header and claims as in `claims`."""
        key = key or self.keys[0]
        full = {"alg": str(key.get("alg") or "ES256"), "kid": key.kid, "typ": "JWT", **(header or {})}
        header = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(header, self.claims(user, **changes), key, [full["alg"]], default_type=None)

    def hold(self, path: str) -> threading.Event:
        """Answer nothing at this path until the event is set."""
        gate = self._gates.get(path)
        if gate is None or gate.is_set():
            gate = self._gates[path] = threading.Event()
        return gate

    def wait_until_asked(self, path: str, times: int = 1) -> None:
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.asked[path] >= times, PATIENCE_SECONDS):
                raise AssertionError(f"{path} was asked {self.asked[path]} times and not {times}")

    def start(self, ca: trustme.CA) -> None:
        """Listen; after `die`, at the same port again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost").configure_cert(context)
        self._server = _Server(self, context, self._port)
        self._port = self._server.server_address[1]
        self._server.begin()

    def die(self) -> None:
        """Cut every connection and stop listening."""
        for gate in self._gates.values():
            gate.set()
        self._gates.clear()
        if self._server is not None:
            self._server.end()
            self._server = None

    # --- answers, in the server's threads ------------------------------------------------------------------------

    def answer(self, path: str, form: dict[str, str], headers: Mapping[str, str]) -> Answer:
        with self._arrived:
            self.asked[path] += 1
            self.headers.append(headers)
            if form:
                self.forms.append(form)
            self._arrived.notify_all()
        gate = self._gates.get(path)
        if gate is not None:
            gate.wait(PATIENCE_SECONDS)
        if path in self.lies:
            return self.lies[path]
        if path == KEYS:
            return Answer.json(self.key_set())
        if not _is_client(form, headers.get("Authorization", "")):
            return Answer.json({"error": "invalid_client"}, 401)
        return self._introspect(form) if path == INTROSPECTION else self._grant(form)

    def _introspect(self, form: dict[str, str]) -> Answer:
        claims = self.active.get(form["token"])
        return Answer.json({"active": False} if claims is None else {"active": True, **claims})

    def _grant(self, form: dict[str, str]) -> Answer:
        number = self.asked[TOKENS]
        if form["grant_type"] == "client_credentials":
            return Answer.json({"access_token": f"application-{number}", **self.grants})
        user = self.refresh_tokens.get(form["refresh_token"])
        if user is None:
            return Answer.json({"error": "invalid_grant", "error_description": "expired or revoked"}, 400)
        granted = {"access_token": f"{user.partition('@')[0]}-{number}", **self.grants}
        if self.rotates_refresh_tokens:
            del self.refresh_tokens[form["refresh_token"]]
            granted["refresh_token"] = f"refresh-{number}"
            self.refresh_tokens[f"refresh-{number}"] = user
        return Answer.json(granted)


def _is_client(form: dict[str, str], authorization: str) -> bool:
    if not authorization:
        return form.get("client_id") == CLIENT
    name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, CLIENT_SECRET)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # so that `end` waits for them

    def __init__(self, provider: Provider, context: ssl.SSLContext, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.provider = provider
        self._context = context
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        with self._lock:
            self._ended = True
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  socketserver's signature
        """In the connection's thread: the handshake, then requests."""
        with self._lock:
            self._connections.add(request)
            if self._ended:
                return
        try:
            with self._context.wrap_socket(request.dup(), server_side=True) as secured:
                super().finish_request(secured, client_address)
        finally:
            with self._lock:
                self._connections.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves, or does not believe the certificate, is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._reply(self.server.provider.answer(self.path, {}, dict(self.headers)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
        self._reply(self.server.provider.answer(self.path, form, dict(self.headers)))

    def _reply(self, answer: Answer) -> None:
        if answer.hang_up:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nothing."""


@contextmanager
def running(ca: trustme.CA) -> Iterator[Provider]:
    """A provider at a free port of localhost, whose certificate `ca` issues."""
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder, "provider-ca.pem")
        ca.cert_pem.write_to_path(str(ca_file))
        provider = Provider(ca_file)
        provider.start(ca)
        try:
            yield provider
        finally:
            provider.die()
