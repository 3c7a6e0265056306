"""The exact octets of every refusal, when it is given, and the norm behind it. `docs/replies.md` is made from here.

Texts are generic on purpose: they tell a client what to do, never what we know.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.facts import Refusal


@dataclass(frozen=True, slots=True)
class Answer:
    """One refusal: its line without CRLF, when a client gets it, and where code and text come from.

    `basis` names an RFC and its section, or a server whose reply it is, or says that the choice is gatepost's own.
    """

    text: bytes
    when: str
    basis: str

    @property
    def code(self) -> int:
        return int(self.text[:3])


R, A = Refusal, Answer  # short, so that the tables below read as tables

_TLS = {
    R.STARTTLS_PARAMETER: A(
        b"501 5.5.4 Syntax error (no parameters allowed)",
        "STARTTLS with an argument",
        "RFC 3207 section 4",
    ),
    R.TLS_ACTIVE: A(
        b"503 5.5.1 TLS is already active",
        "STARTTLS over TLS",
        "RFC 3207 section 4.2 forbids the offer; the code is gatepost's own",
    ),
    R.TLS_REQUIRED: A(
        b"530 5.7.0 Must issue a STARTTLS command first",
        'a command that must wait for TLS, `auth = "required"`: all but EHLO, STARTTLS, NOOP and QUIT',
        "RFC 3207 section 4",
    ),
    R.REQUIRETLS_IMPOSSIBLE: A(
        b"550 5.7.30 REQUIRETLS support required",
        "MAIL with REQUIRETLS, and a leg without TLS, an upstream without proof, or one without the extension",
        "RFC 8689 section 4.2.1",
    ),
}

_AUTH = {
    R.AUTH_NEEDS_TLS: A(
        b"504 5.5.4 Encryption required for requested authentication mechanism",
        'AUTH on a clear channel, `auth = "optional"`',
        "RFC 4954 section 4",
    ),
    R.AUTH_REQUIRED: A(
        b"530 5.7.0 Authentication required",
        'a command that must wait for a login, `auth = "required"`: all but AUTH, EHLO, HELO, NOOP, RSET and QUIT; '
        "gatepost closes when it is a BDAT of more than 65,536 octets",
        "RFC 4954 section 6",
    ),
    R.AUTH_DISABLED: A(
        b"503 5.5.1 Authentication is not enabled here",
        'AUTH, `auth = "off"`',
        "as Postfix answers",
    ),
    R.AUTH_SYNTAX: A(
        b"501 5.5.4 AUTH needs a mechanism, and at most an initial response",
        "AUTH with no argument, or with more than two",
        "RFC 5321 section 4.3.2",
    ),
    R.AUTH_TWICE: A(b"503 5.5.1 Already authenticated", "AUTH after a login", "RFC 4954 section 4"),
    R.AUTH_IN_TRANSACTION: A(
        b"503 5.5.1 AUTH is not permitted in a mail transaction",
        "AUTH after MAIL",
        "RFC 4954 section 4",
    ),
    R.AUTH_CANCELLED: A(b"501 5.7.0 Authentication aborted", 'the client sent "*"', "RFC 4954 section 4"),
    R.AUTH_UNAVAILABLE: A(
        b"454 4.7.0 Temporary authentication failure",
        "whatever is not the client's fault: the upstream, the users file or the identity provider is away or slow, "
        "the upstream answers other than 235, 535 or 525 or cannot prove itself, or there is no way to log in to it",
        "RFC 4954 section 6",
    ),
    R.AUTH_LINE_TOO_LONG: A(
        b"500 5.5.6 Authentication Exchange line is too long",
        "AUTH, or a response, of more than 12,288 octets",
        "RFC 4954 section 6",
    ),
    R.MECHANISM_UNKNOWN: A(
        b"504 5.5.4 Unrecognized authentication type",
        "AUTH with a mechanism that gatepost does not speak, or that is switched off; EXTERNAL without a certificate",
        "RFC 4954 section 4",
    ),
    R.MECHANISM_WEAK: A(
        b"534 5.7.9 Authentication mechanism is too weak",
        "a mechanism below the minimum that `[[policies]]` has for this address or this user",
        "RFC 4954 section 6",
    ),
    R.INITIAL_RESPONSE: A(
        b"501 5.7.0 This mechanism takes no initial response",
        "AUTH CRAM-MD5 with an initial response",
        "RFC 4954 section 4",
    ),
    R.CANNOT_DECODE: A(
        b"501 5.5.2 Cannot decode response",
        "a response that is not base64, not of its mechanism's form, or does not end in CRLF",
        "RFC 4954 section 4",
    ),
    R.CREDENTIALS_INVALID: A(
        b"535 5.7.8 Authentication credentials invalid",
        "the upstream answered 535, or what gatepost checks itself is wrong: the same for a user that does not exist",
        "RFC 4954 section 6",
    ),
    R.ACCOUNT_DISABLED: A(
        b"525 5.7.13 User account disabled",
        "the upstream answered 525; only then, since it tells that the account exists",
        "RFC 5248",
    ),
    R.PASSWORD_TRANSITION: A(
        b"432 4.7.12 A password transition is needed",
        "SCRAM failed for any reason and any user while `users.learn` is on: PLAIN or LOGIN may help",
        "RFC 4954 section 6",
    ),
    R.TOKEN_EXPIRED: A(
        b"421 4.7.0 Authorization expired, closing connection",
        "the token that opened the conversation has expired, at the next boundary between commands",
        "RFC 5321 section 3.8 lets 421 answer any command; the reason is gatepost's own",
    ),
    R.TOO_MANY_FAILURES: A(
        b"421 4.7.0 Too many failed logins, closing connection",
        "`limits.login_failures` logins failed on this connection",
        "RFC 4954 section 9: not before 3",
    ),
}

_COMMANDS = {
    R.HELLO_FIRST: A(
        b"503 5.5.1 Say EHLO first", "a command that needs EHLO or HELO before it", "RFC 5321 section 4.1.4"
    ),
    R.SYNTAX: A(
        b"501 5.5.4 Syntax error in parameters or arguments",
        "EHLO, HELO, MAIL or RCPT with an argument that is not of their form",
        "RFC 5321 section 4.3.2",
    ),
    R.UNKNOWN_COMMAND: A(
        b"500 5.5.2 Command not recognized",
        "a command that gatepost does not know",
        "RFC 5321 section 4.2.4",
    ),
    R.NOT_IMPLEMENTED: A(
        b"502 5.5.1 Command not implemented",
        "BURL and TURN; BDAT and ETRN, where the upstream does not offer their extension",
        "RFC 5321 section 4.2.4",
    ),
    R.IDENTITY_COMMAND: A(
        b"550 5.7.0 Not permitted",
        "XCLIENT and XFORWARD, from anybody",
        "as Postfix answers strangers",
    ),
    R.BAD_CHARACTERS: A(
        b"500 5.5.2 Commands end in CRLF and hold no control or 8-bit characters",
        "a command with a lone CR or LF, or another control character than a tab; with 8-bit octets, unless they are "
        "UTF-8 in MAIL, RCPT, VRFY or EXPN",
        "RFC 5321 sections 2.3.8 and 4.1.2",
    ),
    R.LINE_TOO_LONG: A(
        b"500 5.5.2 Line too long",
        "any other command of more than 2,048 octets",
        "RFC 5321 section 4.5.3.1.9",
    ),
    R.TOO_MANY_ERRORS: A(
        b"421 4.7.0 Too many errors, closing connection",
        "`limits.errors` commands were refused on this connection",
        "as Postfix answers",
    ),
    R.TOO_MANY_COMMANDS: A(
        b"421 4.7.0 Too many commands without a login or a message, closing connection",
        "more than `limits.commands_before_login` commands that sent no mail",
        "gatepost's own",
    ),
    R.OUT_OF_SYNC: A(
        b"554 5.5.0 SMTP protocol synchronization error",
        "octets behind STARTTLS before TLS began, or an HTTP request; gatepost closes",
        "as Postfix answers",
    ),
    R.IN_TRANSACTION: A(
        b"503 5.5.1 Not permitted in a mail transaction",
        "MAIL, ETRN or, on a clear channel, STARTTLS after MAIL",
        "RFC 5321 section 4.1.4",
    ),
    R.CHUNKS_UNDER_WAY: A(
        b"503 5.5.1 Not permitted between the chunks of a message",
        "MAIL, RCPT, DATA, VRFY, EXPN or HELP after a BDAT that was not the last",
        "RFC 3030 section 2",
    ),
    R.NO_TRANSACTION: A(
        b"503 5.5.1 Say MAIL first",
        "RCPT, DATA or BDAT before MAIL",
        "RFC 5321 section 4.1.4",
    ),
}

_MAIL = {
    R.CHUNK_SYNTAX: A(
        b"501 5.5.4 BDAT needs a size, and at most LAST",
        "BDAT with another argument, or of more than 2,147,483,647 octets; gatepost closes, since nobody knows where "
        "the next command begins",
        "RFC 3030 section 2",
    ),
    R.LONE_NEWLINE: A(
        b"550 5.5.2 A CR or LF stands alone in the message",
        'a CR or LF that stands alone in DATA, `lone_newlines = "refuse"`; gatepost closes',
        "RFC 5321 section 2.3.8; the code is Postfix's",
    ),
    R.MESSAGE_TOO_BIG: A(
        b"552 5.3.4 Message too big",
        "MAIL with a SIZE over `limits.message_bytes`; or a message that passes it, and then gatepost closes",
        "RFC 1870 section 6.1",
    ),
    R.TOO_MANY_RECIPIENTS: A(
        b"452 4.5.3 Too many recipients",
        "a RCPT more than `limits.recipients`",
        "RFC 5321 section 4.5.3.1.10",
    ),
    R.PARAMETER_UNKNOWN: A(
        b"555 5.5.4 Parameter not recognized",
        "MAIL or RCPT with a parameter of an extension that was not offered",
        "RFC 5321 section 4.1.1.11",
    ),
    R.PARAMETER_SYNTAX: A(
        b"501 5.5.4 Syntax error in a parameter",
        "MAIL with a SIZE that is no number",
        "RFC 5321 section 4.3.2",
    ),
    R.ADDRESS_NOT_ASCII: A(
        b"553 5.6.7 Non-ASCII address needs SMTPUTF8",
        "MAIL, RCPT, VRFY or EXPN that is not ASCII, and an upstream without SMTPUTF8",
        "RFC 6531 section 3.5",
    ),
}

_UPSTREAM = {
    R.UPSTREAM_UNREACHABLE: A(
        b"421 4.3.2 Mail server not available, closing connection",
        "EHLO or HELO, when the upstream cannot be reached and was not reached since the start",
        "RFC 5321 section 4.2.3",
    ),
    R.RELAY_DENIED: A(
        b"554 5.7.1 Relay access denied",
        "RCPT without a login for a foreign domain, where the upstream would relay anything that comes from gatepost",
        "Postfix; RFC 3463 section 3.8",
    ),
    R.RELAY_UNSURE: A(
        b"451 4.7.1 Relaying is not possible at present",
        "the same while it is not known yet whether the upstream would, or which domains are its own",
        "RFC 3463 section 3.8; the code is gatepost's own: the mail is not to blame",
    ),
    R.UPSTREAM_UNREACHABLE_NOW: A(
        b"451 4.4.1 Mail server not available",
        "a command that is relayed, when the upstream cannot be reached",
        "RFC 3463 section 3.5",
    ),
    R.UPSTREAM_LOST: A(
        b"421 4.4.2 Connection to the mail server lost, closing connection",
        "the upstream is gone, or too slow, before it answered a command",
        "RFC 5321 section 3.8",
    ),
    R.UPSTREAM_GARBLED: A(
        b"421 4.3.0 Mail server trouble, closing connection",
        "the upstream sent what is no reply, is over the limit, or answers what was not asked",
        "RFC 5321 section 3.8",
    ),
    R.MESSAGE_UNSURE: A(
        b"451 4.4.2 Connection to the mail server lost before it answered",
        "the upstream is gone, or too slow, before it answered a message; gatepost closes",
        "gatepost's own: never a 250 that the upstream did not give",
    ),
}

_GATEPOST = {
    R.TOO_MANY_CONVERSATIONS: A(
        b"421 4.3.2 Too many connections, try again later",
        "a connection more than `limits.conversations`, or than the file descriptors reach",
        "RFC 5321 section 4.2.3",
    ),
    R.TOO_MANY_FROM_CLIENT: A(
        b"421 4.7.0 Too many connections from your address",
        "a connection more than `limits.conversations_per_client`",
        "as Postfix answers",
    ),
    R.CLIENT_TIMED_OUT: A(
        b"421 4.4.2 Timeout, closing connection",
        "the client took longer than `[timeouts]` allows",
        "RFC 5321 section 4.5.3.2; the code is Postfix's",
    ),
    R.DRAINING: A(
        b"421 4.3.2 Service shutting down, closing connection",
        "gatepost is stopping, and the client stands between two commands",
        "RFC 5321 section 3.8",
    ),
    R.INTERNAL_FAULT: A(
        b"421 4.3.0 Internal fault, closing connection",
        "a bug in gatepost; the log has where",
        "RFC 5321 section 3.8",
    ),
}

SECTIONS: dict[str, dict[Refusal, Answer]] = {
    "TLS": _TLS,
    "AUTH": _AUTH,
    "Commands": _COMMANDS,
    "Mail": _MAIL,
    "The upstream": _UPSTREAM,
    "gatepost itself": _GATEPOST,
}

TABLE: dict[Refusal, Answer] = {refusal: answer for section in SECTIONS.values() for refusal, answer in section.items()}

REFUSALS: dict[Refusal, bytes] = {refusal: answer.text + b"\r\n" for refusal, answer in TABLE.items()}
