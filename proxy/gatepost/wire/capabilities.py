"""Capabilities: what an EHLO reply says, and which of it gatepost carries (RFC 5321 section 4.1.1.1).

The carried extensions are a closed list. An unknown extension may change how the stream is framed, and then a proxy
that does not know it loses mail: it is withheld.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from gatepost.facts import Mechanism
from gatepost.wire.commands import Verb

# What gatepost relays when the upstream offers it. STARTTLS and AUTH are gatepost's own and not in it.
CARRIED = frozenset(
    {
        b"PIPELINING",  # RFC 2920
        b"SIZE",  # RFC 1870
        b"8BITMIME",  # RFC 6152
        b"BINARYMIME",  # RFC 3030
        b"CHUNKING",  # RFC 3030
        b"DSN",  # RFC 3461
        b"SMTPUTF8",  # RFC 6531
        b"ENHANCEDSTATUSCODES",  # RFC 2034
        b"DELIVERBY",  # RFC 2852
        b"MT-PRIORITY",  # RFC 6710
        b"FUTURERELEASE",  # RFC 4865
        b"REQUIRETLS",  # RFC 8689; only when both legs are TLS
        b"LIMITS",  # RFC 9422
        b"ETRN",  # RFC 1985
        b"VRFY",
        b"EXPN",
        b"HELP",
        b"NO-SOLICITING",  # RFC 3865
    }
)

# The extension that each parameter of MAIL and RCPT belongs to.
MAIL_PARAMETERS = {
    b"SIZE": b"SIZE",
    b"BODY": b"8BITMIME",
    b"SMTPUTF8": b"SMTPUTF8",
    b"AUTH": b"AUTH",  # RFC 4954 section 5
    b"RET": b"DSN",
    b"ENVID": b"DSN",
    b"BY": b"DELIVERBY",
    b"MT-PRIORITY": b"MT-PRIORITY",
    b"HOLDFOR": b"FUTURERELEASE",
    b"HOLDUNTIL": b"FUTURERELEASE",
    b"REQUIRETLS": b"REQUIRETLS",
    b"SOLICIT": b"NO-SOLICITING",
}
RCPT_PARAMETERS = {b"NOTIFY": b"DSN", b"ORCPT": b"DSN"}
PARAMETERS = {Verb.MAIL: MAIL_PARAMETERS, Verb.RCPT: RCPT_PARAMETERS}

_NOT_SASL = (Mechanism.OTHER, Mechanism.XCLIENT)
_MECHANISMS = {mechanism.value.encode(): mechanism for mechanism in Mechanism if mechanism not in _NOT_SASL}


def mechanism_named(name: bytes) -> Mechanism:
    """The mechanism of an upper-case name; OTHER for names we do not know."""
    return _MECHANISMS.get(name, Mechanism.OTHER)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One server's EHLO: keyword (upper case) -> parameters as they stood behind it.

    `mechanisms` is what it takes in AUTH, also in the old form "AUTH=LOGIN", without those we do not know; and XCLIENT,
    if it takes a login by that. `binds`: some of its mechanisms can be bound to a TLS channel (RFC 5802 section 6).
    """

    keywords: dict[bytes, bytes] = field(default_factory=dict)
    mechanisms: frozenset[Mechanism] = frozenset()
    binds: bool = False

    def __contains__(self, keyword: bytes) -> bool:
        return keyword in self.keywords


@lru_cache(maxsize=64)
def read(lines: tuple[bytes, ...]) -> Capabilities:
    """The texts of an EHLO reply; the first is the greeting. An upstream says the same to every conversation."""
    keywords: dict[bytes, bytes] = {}
    for line in lines[1:]:
        keyword, _, parameters = line.strip().partition(b" ")
        keyword = keyword.upper()
        if keyword.startswith(b"AUTH="):  # before RFC 2554; the mechanisms may stand beside those of a proper line
            keyword, parameters = b"AUTH", keyword[5:] + b" " + parameters
        if keyword == b"AUTH" and keyword in keywords:
            parameters = keywords[keyword] + b" " + parameters
        keywords[keyword] = parameters.strip()
    names = keywords.get(b"AUTH", b"").upper().split()
    mechanisms = set(map(mechanism_named, names)) - {Mechanism.OTHER}
    if b"LOGIN" in keywords.get(b"XCLIENT", b"").upper().split():
        mechanisms.add(Mechanism.XCLIENT)
    return Capabilities(keywords, frozenset(mechanisms), any(name.endswith(b"-PLUS") for name in names))
