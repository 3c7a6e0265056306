"""Who a client says it is, by an initial response that it sent in the clear: the name, and nothing else of it.

Nobody judges it, and nothing becomes of it but a word in the log, from which an operator can tell whose password is
out (RFC 8314 section 4.1). So this is lenient where a login would be strict, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gatepost.facts import Mechanism
from gatepost.sasl.exchange import Malformed, decode

MOST_CHARACTERS = 254  # of an address (RFC 5321 section 4.5.3.1, less the angle brackets)

_NAMES: Mapping[Mechanism, re.Pattern[bytes]] = {
    Mechanism.PLAIN: re.compile(rb"[^\0]*\0([^\0]*)\0"),  # RFC 4616 section 2
    Mechanism.LOGIN: re.compile(rb"([^\0]*)\Z"),
    Mechanism.XOAUTH2: re.compile(rb"user=([^\x01]*)\x01"),
    Mechanism.OAUTHBEARER: re.compile(rb"[^,\x01]*,a=([^,\x01]*),"),  # RFC 7628 section 3.1
}


def claimed_name(mechanism: Mechanism, initial: bytes) -> str:
    """The name in an initial response as AUTH carries it, in base64; "" when there is none to be told."""
    pattern = _NAMES.get(mechanism)
    if pattern is None:
        return ""
    try:
        found = pattern.match(decode(initial))
    except Malformed:
        return ""
    return found[1].decode(errors="replace")[:MOST_CHARACTERS] if found else ""
