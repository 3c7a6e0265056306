"""The exact octets of every refusal, with the norm behind each. `docs/phases.md` is generated from this table.

Texts are generic on purpose: they tell a client what to do, never what we know.
"""

from __future__ import annotations

from gatepost.facts import Refusal

R = Refusal

TABLE: dict[Refusal, bytes] = {
    # --- TLS
    R.STARTTLS_PARAMETER: b"501 5.5.4 Syntax error (no parameters allowed)",  # RFC 3207 section 4
    R.TLS_ACTIVE: b"503 5.5.1 TLS is already active",  # RFC 3207 section 4.2 forbids the offer; the code is ours
    R.TLS_REQUIRED: b"530 5.7.0 Must issue a STARTTLS command first",  # RFC 3207 section 4
    R.REQUIRETLS_IMPOSSIBLE: b"550 5.7.30 REQUIRETLS support required",  # RFC 8689 section 4.2.1
    # --- AUTH (RFC 4954 sections 4 and 6)
    R.AUTH_NEEDS_TLS: b"504 5.5.4 Encryption required for requested authentication mechanism",
    R.AUTH_REQUIRED: b"530 5.7.0 Authentication required",
    R.AUTH_DISABLED: b"503 5.5.1 Authentication is not enabled here",
    R.AUTH_SYNTAX: b"501 5.5.4 AUTH needs a mechanism, and at most an initial response",
    R.AUTH_TWICE: b"503 5.5.1 Already authenticated",
    R.AUTH_IN_TRANSACTION: b"503 5.5.1 AUTH is not permitted in a mail transaction",
    R.AUTH_CANCELLED: b"501 5.7.0 Authentication aborted",
    R.AUTH_UNAVAILABLE: b"454 4.7.0 Temporary authentication failure",
    R.AUTH_LINE_TOO_LONG: b"500 5.5.6 Authentication Exchange line is too long",
    R.MECHANISM_UNKNOWN: b"504 5.5.4 Unrecognized authentication type",
    R.CANNOT_DECODE: b"501 5.5.2 Cannot decode response",
    R.CREDENTIALS_INVALID: b"535 5.7.8 Authentication credentials invalid",
    R.ACCOUNT_DISABLED: b"525 5.7.13 User account disabled",  # RFC 5248; only when the upstream said so
    R.TOO_MANY_FAILURES: b"421 4.7.0 Too many failed logins, closing connection",  # RFC 4954 section 9: not before 3
    # --- commands (RFC 5321 sections 4.1.1, 4.2.4 and 4.3.2)
    R.HELLO_FIRST: b"503 5.5.1 Say EHLO first",
    R.SYNTAX: b"501 5.5.4 Syntax error in parameters or arguments",
    R.UNKNOWN_COMMAND: b"500 5.5.2 Command not recognized",
    R.NOT_IMPLEMENTED: b"502 5.5.1 Command not implemented",
    R.IDENTITY_COMMAND: b"550 5.7.0 Not permitted",  # XCLIENT and XFORWARD: as Postfix answers strangers
    R.BAD_CHARACTERS: b"500 5.5.2 Commands end in CRLF and hold no control or 8-bit characters",
    R.LINE_TOO_LONG: b"500 5.5.2 Line too long",
    R.TOO_MANY_ERRORS: b"421 4.7.0 Too many errors, closing connection",
    R.TOO_MANY_COMMANDS: b"421 4.7.0 Too many commands without a login or a message, closing connection",
    R.OUT_OF_SYNC: b"554 5.5.0 SMTP protocol synchronization error",
    R.IN_TRANSACTION: b"503 5.5.1 Not permitted in a mail transaction",
    R.CHUNKS_UNDER_WAY: b"503 5.5.1 Not permitted between the chunks of a message",  # RFC 3030 section 2
    R.NO_TRANSACTION: b"503 5.5.1 Say MAIL first",
    # --- mail
    R.CHUNK_SYNTAX: b"501 5.5.4 BDAT needs a size, and at most LAST",  # RFC 3030 section 2
    R.LONE_NEWLINE: b"550 5.5.2 A CR or LF stands alone in the message",
    R.MESSAGE_TOO_BIG: b"552 5.3.4 Message too big",  # RFC 1870 section 6.1
    R.TOO_MANY_RECIPIENTS: b"452 4.5.3 Too many recipients",  # RFC 5321 section 4.5.3.1.10
    R.PARAMETER_UNKNOWN: b"555 5.5.4 Parameter not recognized",  # RFC 5321 section 4.1.1.11
    R.PARAMETER_SYNTAX: b"501 5.5.4 Syntax error in a parameter",
    R.ADDRESS_NOT_ASCII: b"553 5.6.7 Non-ASCII address needs SMTPUTF8",  # RFC 6531 section 3.5
    # --- the upstream
    R.UPSTREAM_UNREACHABLE: b"421 4.3.2 Mail server not available, closing connection",
    R.UPSTREAM_UNREACHABLE_NOW: b"451 4.4.1 Mail server not available",
    R.UPSTREAM_LOST: b"421 4.4.2 Connection to the mail server lost, closing connection",
    R.UPSTREAM_GARBLED: b"421 4.3.0 Mail server trouble, closing connection",
    R.MESSAGE_UNSURE: b"451 4.4.2 Connection to the mail server lost before it answered",  # never a 250 of our own
    # --- gatepost
    R.TOO_MANY_CONVERSATIONS: b"421 4.3.2 Too many connections, try again later",
    R.TOO_MANY_FROM_CLIENT: b"421 4.7.0 Too many connections from your address",
    R.CLIENT_TIMED_OUT: b"421 4.4.2 Timeout, closing connection",
    R.DRAINING: b"421 4.3.2 Service shutting down, closing connection",
    R.INTERNAL_FAULT: b"421 4.3.0 Internal fault, closing connection",
}

REFUSALS: dict[Refusal, bytes] = {refusal: line + b"\r\n" for refusal, line in TABLE.items()}


def code(refusal: Refusal) -> int:
    return int(TABLE[refusal][:3])
