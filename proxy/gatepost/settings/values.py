"""The forms of single values: addresses, files, pins, networks, numbers.

TOML has types, so a number written as a text is a mistake and not a number: pydantic's conversions are switched off
wherever TOML has the type. A `Form` says in words what a value must look like; problems and the reference page use it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, PlainValidator, Strict, ValidationInfo

from gatepost.facts import Mechanism

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_LOOKS_LIKE_IPV4 = re.compile(r"[0-9.]+", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_HIGHEST_PORT = 65_535
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Form:
    """What a value must look like, in words that can follow "expected"."""

    words: str


class Address(NamedTuple):
    """A host (name or IP literal, without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As the settings file writes it: "host:port" or "[v6]:port"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The host as an IP address; None when it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine for certain. Of names, only localhost is (RFC 6761 section 6.3)."""
        if self.ip is None:
            return self.host.lower() == "localhost"
        return self.ip.is_loopback


def parse_address(value: object) -> Address:
    """Read "host:port" or "[v6]:port"; raises ValueError, whose text says what was expected."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(_ADDRESS.words)  # noqa: TRY004  pydantic collects ValueError, and lets TypeError through
    bracketed = re.fullmatch(r"\[([^\[\]]*)\]:(.*)", value, re.DOTALL)
    if bracketed is None and value.count(":") > 1:
        raise ValueError('IPv6 in brackets, then a port, like "[::1]:25"')
    host, colon, port = (bracketed[1], ":", bracketed[2]) if bracketed else value.rpartition(":")
    if not colon:
        raise ValueError(_ADDRESS.words + "; the port is missing")
    if not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise ValueError(f"{_ADDRESS.words}, with a port from 1 to {_HIGHEST_PORT}")
    return Address(_check_host(host, bracketed=bracketed is not None), int(port))


def _check_host(host: str, *, bracketed: bool) -> str:
    """Return the host in its canonical form; raises ValueError, whose text says what was expected."""
    if bracketed:
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise ValueError("an IPv6 address in the brackets") from None
    if _LOOKS_LIKE_IPV4.fullmatch(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise ValueError("a whole IPv4 address before the port") from None
    if not _HOST.fullmatch(host):
        raise ValueError(_ADDRESS.words)
    return host


def _require_port(address: Address) -> Address:
    if address.port == 0:
        raise ValueError(f"{_ADDRESS.words}, with a port from 1 to {_HIGHEST_PORT}")
    return address


def _make_absolute(path: Path, info: ValidationInfo) -> Path:
    """Paths are relative to the settings file; settings that were made without a file keep theirs as they are."""
    return path if info.context is None else Path(info.context["folder"], path)


def _check_pin(pin: str) -> str:
    algorithm, _, digest = pin.partition("/")
    try:
        good = algorithm == "sha256" and len(base64.b64decode(digest, validate=True)) == _SHA256_BYTES
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise ValueError(_PIN.words)
    return pin


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(_NETWORK.words)  # noqa: TRY004  as in parse_address
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(_NETWORK.words) from None


# SASL mechanisms by what an attacker gains who reads, or meets at the other end, what they send: all of a password, a
# hash to guess from, the same with salt and many rounds, a token that ends, nothing. `[[policies]]` go by this order.
STRENGTH: dict[Mechanism, int] = {
    Mechanism.PLAIN: 0,
    Mechanism.LOGIN: 0,
    Mechanism.CRAM_MD5: 1,
    Mechanism.SCRAM_SHA_1: 2,
    Mechanism.SCRAM_SHA_256: 3,
    Mechanism.XOAUTH2: 4,
    Mechanism.OAUTHBEARER: 4,
    Mechanism.EXTERNAL: 5,
}
_SASL = tuple(STRENGTH)
_CHALLENGE = (Mechanism.CRAM_MD5, Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256)
_LONGEST_URL = 2000  # RFC 9110 section 4.1 asks everyone for 8,000 octets; no provider's endpoint comes near it
_HTTPS = re.compile(r"https://([^/?]+)([/?][!-\"$-~]*)?", re.ASCII)
_ENDS_WITH_PORT = re.compile(r":[0-9]*\Z", re.ASCII)
_PLACES = re.compile(r"\{(login|local|domain)\}", re.ASCII)


def _one_of(members: tuple[Mechanism, ...]) -> tuple[PlainValidator, Form]:
    """A SASL mechanism by its registered name, in any case."""
    *others, last = (f'"{member.value}"' for member in members)
    form = Form(f"{', '.join(others)} or {last}")
    by_name = {member.value: member for member in members}

    def read(value: object) -> Mechanism:
        if isinstance(value, Mechanism):
            return value
        if not isinstance(value, str) or value.upper() not in by_name:
            raise ValueError(form.words)
        return by_name[value.upper()]

    return PlainValidator(read), form


def _check_template(template: str) -> str:
    rest = _PLACES.sub("", template)
    if rest == template or "{" in rest or "}" in rest:
        raise ValueError(_TEMPLATE.words)
    return template


def _check_url(url: str) -> str:
    """No "user:password@": a settings file is no place for secrets. No fragment: none is ever sent."""
    parts = _HTTPS.fullmatch(url)
    if parts is None or len(url) > _LONGEST_URL:
        raise ValueError(_URL.words)
    try:
        _require_port(parse_address(parts[1] if _ENDS_WITH_PORT.search(parts[1]) else f"{parts[1]}:443"))
    except ValueError:
        raise ValueError(_URL.words) from None
    return url


_TEMPLATE = Form('a text with "{login}", "{local}" or "{domain}" in it, and no other braces')
_ADDRESS = Form('"host:port" or "[IPv6]:port"')
_PIN = Form('"sha256/" and 44 characters of base64')
_URL = Form(
    f'a URL of at most {_LONGEST_URL} characters that begins with "https://" and a host, '
    "without a user name or a password"
)
_NETWORK = Form('a network without host bits, like "192.0.2.0/24" or "2001:db8::/32"')

Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
Seconds = Annotated[float, Strict(), Field(allow_inf_nan=False)]
BindAddress = Annotated[Address, PlainValidator(parse_address), _ADDRESS]  # port 0: the system chooses one
ServerAddress = Annotated[Address, PlainValidator(parse_address), AfterValidator(_require_port), _ADDRESS]
File = Annotated[Path, AfterValidator(_make_absolute), Form("the path of a file")]
PemFile = Annotated[Path, AfterValidator(_make_absolute), Form("the path of a PEM file")]
Pin = Annotated[str, AfterValidator(_check_pin), _PIN]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_parse_network), _NETWORK]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,253}$"), Form("a host name")]
Domain = Annotated[
    str,
    Field(pattern=r"^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+$", max_length=253),
    Form("a domain in lower case, like example.com"),
]
CertificateName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._:-]{0,253}$"), Form("a host name or an IP address, without a port")
]
Label = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$"),
    Form('a lower-case letter, then at most 31 lower-case letters, digits, "-" or "_"'),
]
Sasl = Annotated[Mechanism, *_one_of(_SASL)]
Challenge = Annotated[Mechanism, *_one_of(_CHALLENGE)]
JwtAlgorithm = Annotated[
    str,
    Field(pattern=r"^(RS|PS|ES)(256|384|512)$|^EdDSA$"),
    Form("the name of a signature with a public key, like RS256, PS256, ES256 or EdDSA"),
]
ScopeWord = Annotated[  # RFC 6749 section 3.3; several are never looked for
    str, Field(pattern=r"^[!#-\[\]-~]{0,255}$"), Form("one word of a token's scope, without spaces")
]
LoginName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,255}$"), Form("a login of 1 to 255 characters")]
LoginPattern = Annotated[
    str, Field(pattern=r"^(\*@)?[^\x00-\x1f\x7f*]{1,255}$"), Form('a login, or "*@" and a domain for all of its logins')
]
LoginTemplate = Annotated[str, AfterValidator(_check_template), _TEMPLATE]
Url = Annotated[str, AfterValidator(_check_url), _URL]
