"""HTTPS to the identity provider: the one module that knows the HTTP client.

Deliberately small: no redirects, no cookies, no proxies from the environment, no compression (a small answer could
unfold into a large one), bounded time and size. The client's exceptions hold requests, and those hold secrets, so none
leaves this module, not even as the context of another one.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_plus, urlencode

import httpx
import trio

from gatepost.backends.asking import NoAnswer
from gatepost.facts import BackendResult
from gatepost.sasl.secret import Secret
from gatepost.settings.files import strip_newline

ANSWER_SECONDS = 10.0  # for the whole of it; less than `timeouts.backend` is by default, so that the reason is known
ANSWER_BYTES = 256 * 1024  # a set of 100 keys, each with two certificates, fits
CONNECTIONS = 20  # at once, to one endpoint
WAITING = 64  # for one of them; more are a flood, or a provider that would answer none of them in time

_HIGHEST_PORT = 65_535
_REFUSALS = {401, 403, 429}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider said. `document` is its JSON object; None when it sent something else."""

    status: int
    document: dict[str, Any] | None = field(repr=False)  # it may hold tokens

    def require(self) -> dict[str, Any]:
        """The document of a success. Raises NoAnswer."""
        if self.status in _REFUSALS:
            raise NoAnswer(BackendResult.REFUSED)
        if self.status >= 500:  # noqa: PLR2004  RFC 9110 section 15.6
            raise NoAnswer(BackendResult.UNREACHABLE)
        if self.status != 200 or self.document is None:  # noqa: PLR2004  what RFC 6749, 7517 and 7662 all ask for
            raise NoAnswer(BackendResult.GARBLED)
        return self.document


@dataclass(frozen=True, slots=True)
class Client:
    """Who gatepost is to the provider; without a secret, a public client (RFC 6749 section 2.1); without an id, nobody.

    The secret goes into the Authorization header, which all providers must understand, and not into the form, where it
    is "NOT RECOMMENDED" (section 2.3.1).
    """

    id: str
    secret: Secret | None = None

    @classmethod
    def load(cls, client_id: str, secret_file: Path | None) -> Client:
        """Raises OSError or ValueError, which quotes nothing of the file."""
        if secret_file is None:
            return cls(client_id)
        secret = strip_newline(secret_file.read_bytes())
        if not secret:
            raise ValueError(f"{secret_file} is empty")
        return cls(client_id, Secret(secret))

    def headers(self) -> dict[str, str]:
        if self.secret is None:
            return {}
        both = f"{quote_plus(self.id)}:{quote_plus(self.secret.reveal())}"
        return {"Authorization": "Basic " + b64encode(both.encode()).decode()}

    def form(self) -> dict[str, str]:
        return {"client_id": self.id} if self.id and self.secret is None else {}


class Endpoint:
    """One URL of the provider. To be entered; connections are kept and shared until it is left."""

    def __init__(self, url: str, ca: Path | None) -> None:
        """Raises ValueError for a URL that is none, OSError for authorities that cannot be read."""
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url} is no URL: {error}") from None
        if self._url.scheme != "https" or not self._url.host or (self._url.port or 443) > _HIGHEST_PORT:
            raise ValueError(f"{url} is no HTTPS URL")
        # The pool of the HTTP client loses a connection for good whenever it hands it to a waiter that is cancelled in
        # the same moment. So nobody waits there: it has no limit of its own, and this is the limit.
        self._connections = trio.CapacityLimiter(CONNECTIONS)
        self._client = httpx.AsyncClient(
            verify=_context(ca),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113  ANSWER_SECONDS are for all of it, so that dripping does not help
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=CONNECTIONS),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gatepost"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self) -> Reply:
        """Raises NoAnswer."""
        return await self._ask(self._client.build_request("GET", self._url))

    async def post(self, form: Mapping[str, str | Secret], client: Client) -> Reply:
        """Raises NoAnswer. What a 4xx says is for the caller: at a token endpoint it has a meaning."""
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form.items()}
        headers = client.headers() | {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(plain | client.form()).encode()
        return await self._ask(self._client.build_request("POST", self._url, headers=headers, content=body))

    async def _ask(self, request: httpx.Request) -> Reply:
        if self._connections.statistics().tasks_waiting >= WAITING:
            raise NoAnswer(BackendResult.BUSY)
        reply: Reply | BackendResult = BackendResult.TIMED_OUT
        with trio.move_on_after(ANSWER_SECONDS):
            async with self._connections:
                reply = await self._try(request)
        if isinstance(reply, BackendResult):  # raised here, where no exception of the client's is its context
            raise NoAnswer(reply)
        return reply

    async def _try(self, request: httpx.Request) -> Reply | BackendResult:
        try:
            response = await self._client.send(request, stream=True)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
        except (httpx.ProtocolError, httpx.DecodingError, httpx.InvalidURL):
            # InvalidURL: a redirect is looked at also when it is not to be followed
            return BackendResult.GARBLED
        except (httpx.HTTPError, httpx.StreamError, OSError, UnicodeError):
            # a certificate that is not believed, and a name that no resolver would take, among them
            return BackendResult.UNREACHABLE
        return Reply(response.status_code, parse_object(body))


def _context(ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and up, authority and name verified; never the key log file that the environment may ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    return context


async def _read(response: httpx.Response) -> bytes:
    """The body; b"" when it is compressed although nobody asked for that, or too long."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return b""
    body = bytearray()
    with trio.CancelScope() as excess:  # leaves the client's nested generators in order; `break` would not
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > ANSWER_BYTES:
                excess.cancel()
    return b"" if excess.cancel_called else bytes(body)


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object; None when it is something else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
