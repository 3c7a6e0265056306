"""Who a client says it is, by an initial response that it sent in the clear: the name, and nothing else of it.

Nobody judges it, and nothing becomes of it but a word in the log, from which an operator can tell whose password is
out (RFC 8314 section 4.1). So this is lenient where a login would be strict, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gatepost.facts import Mechanism
from gatepost.sasl.exchange import Malformed, decode

MOST_OCTETS = 254  # of an address (RFC 5321 section 4.5.3.1, less the angle brackets)

# The whole form must be right, or what stands in the place of the name may be a password or a token.
_NAMES: Mapping[Mechanism, re.Pattern[bytes]] = {
    Mechanism.PLAIN: re.compile(rb"[^\0]*\0([^\0]+)\0[^\0]+"),  # RFC 4616 section 2
    Mechanism.XOAUTH2: re.compile(rb"user=([^\x01 ]+)\x01auth=Bearer [^\x01 ]+\x01\x01"),
    Mechanism.OAUTHBEARER: re.compile(
        rb"[^,\x01]*,a=([^,\x01 ]+),\x01(?:[a-z]+=[^\x01]*\x01)+\x01"
    ),  # RFC 7628 section 3.1
}


def claimed_name(mechanism: Mechanism, initial: bytes) -> str:
    """The name in an initial response as AUTH carries it, in base64; "" when there is none to be told.

    Of LOGIN nothing is told: whether a word alone is a name or a password does not show.
    """
    pattern = _NAMES.get(mechanism)
    if pattern is None:
        return ""
    try:
        found = pattern.fullmatch(decode(initial))
    except Malformed:
        return ""
    if not found or len(found[1]) > MOST_OCTETS:
        return ""
    name = found[1]
    if mechanism is Mechanism.OAUTHBEARER:  # RFC 5801 section 4
        name = name.replace(b"=2C", b",").replace(b"=3D", b"=")
    return name.decode(errors="replace")
