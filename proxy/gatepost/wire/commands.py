"""Commands: one line from the client, taken apart as far as gatepost must understand it (RFC 5321 section 4.1).

A command that is relayed goes on as the line it came in; what is parsed here is parsed to be checked. `parse` never
fails: a line that is no command has the verb UNKNOWN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gatepost.facts import Label

LINE_BYTES = 2048  # RFC 5321 section 4.5.3.1.4 says 512, and extensions add to it; Postfix takes 2,048
AUTH_LINE_BYTES = 12_288  # RFC 4954 section 4.3
HELLO_BYTES = 255  # RFC 1035 section 2.3.4: the longest domain name


class Verb(Label):
    """Command words. UNKNOWN stands for every other; HTTP for the methods that browsers and scanners send."""

    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    ETRN = "ETRN"
    XCLIENT = "XCLIENT"
    XFORWARD = "XFORWARD"
    BURL = "BURL"
    TURN = "TURN"
    HTTP = "HTTP"
    UNKNOWN = "unknown"


_WORDS: dict[bytes, Verb] = {verb.value.encode(): verb for verb in Verb if verb not in (Verb.HTTP, Verb.UNKNOWN)}
_METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH")  # RFC 9110 section 9.3
_WORDS |= dict.fromkeys(_METHODS, Verb.HTTP)

TAKES_UTF8 = frozenset({Verb.MAIL, Verb.RCPT, Verb.VRFY, Verb.EXPN})  # RFC 6531 section 3.1
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # a tab is sloppy, not dangerous


class BadCharacters(Exception):
    """The line holds a control character or octets that are no UTF-8, or does not end in CRLF."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and one is made for every line
class Command:
    """`argument` is what follows the verb, trimmed; `line` is the whole line with its CRLF."""

    verb: Verb
    argument: bytes = field(repr=False)  # it may hold a credential
    line: bytes = field(repr=False)

    @property
    def ascii(self) -> bool:
        return self.line.isascii()


def parse(line: bytes) -> Command:
    """One line from `Inbound.line`. Raises BadCharacters, whatever the verb: nothing of such a line is looked at."""
    text = line[:-2]
    if line[-2:] != b"\r\n" or _CONTROLS.search(text):
        raise BadCharacters
    word, _, argument = text.partition(b" ")
    verb = _WORDS.get(word.upper(), Verb.UNKNOWN)
    if not line.isascii() and not (verb in TAKES_UTF8 and _is_utf8(text)):
        raise BadCharacters
    return Command(verb, argument.strip(), line)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:  # it quotes the line, so it must not become the context of what is raised
        return False
    return True


# --- EHLO and HELO ---------------------------------------------------------------------------------------------------

_NAME = re.compile(rb"[!-~]{1,%d}" % HELLO_BYTES)


def hello_name(command: Command) -> bytes | None:
    """The name a client gives itself: any one visible word, since real clients send far more than domains."""
    return command.argument if _NAME.fullmatch(command.argument) else None


# --- MAIL and RCPT ---------------------------------------------------------------------------------------------------


class SyntaxFault(Exception):
    """The arguments are not of the command's form."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The arguments of MAIL or RCPT. Keywords are upper case; a keyword without a value has b""."""

    path: bytes
    parameters: tuple[tuple[bytes, bytes], ...]


_MAIL = re.compile(rb"FROM:[ \t]*", re.IGNORECASE)
_RCPT = re.compile(rb"TO:[ \t]*", re.IGNORECASE)
# A path in angle brackets, in which ">" may stand only inside a quoted local part (RFC 5321 section 4.1.2); or, from
# sloppy clients, one word without brackets, which the upstream judges.
_PATH = re.compile(rb'<(?:[^"<>\\]|"(?:[^"\\]|\\.)*"|\\.)*>|[^<> \t]+')
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")  # RFC 5321 section 4.1.2: esmtp-param


def envelope(command: Command) -> Envelope:
    """Raises SyntaxFault."""
    start = (_MAIL if command.verb is Verb.MAIL else _RCPT).match(command.argument)
    path = start and _PATH.match(command.argument, start.end())
    if not path:
        raise SyntaxFault
    rest = command.argument[path.end() :]
    if not rest:
        return Envelope(path[0], ())
    if rest[:1] not in b" \t":
        raise SyntaxFault
    parameters = []
    for word in rest.split():
        matched = _PARAMETER.fullmatch(word)
        if not matched:
            raise SyntaxFault
        parameters.append((matched[1].upper(), matched[2] or b""))
    return Envelope(path[0], tuple(parameters))


# A plain address. Source routes, "%" and "!" may send a message on from the domain that they name last.
_PLAIN = re.compile(rb"<?[A-Za-z0-9#$&'*+/=?^_`{|}~.\x80-\xff-]+(?:@([A-Za-z0-9.\x80-\xff-]+))?>?")


def domain_of(path: bytes) -> str | None:
    """The domain of a recipient, in lower case; "" when it names none, None when it is no plain address."""
    plain = _PLAIN.fullmatch(path)
    return None if plain is None else (plain[1] or b"").decode(errors="replace").lower().removesuffix(".")


# --- BDAT and AUTH ---------------------------------------------------------------------------------------------------

MOST_OCTETS = 2**31 - 1  # an old server may count no further
_BDAT = re.compile(rb"([0-9]{1,10})(?:[ \t]+(LAST))?", re.IGNORECASE)


def chunk(command: Command) -> tuple[int, bool]:
    """BDAT's octets and whether it is the last (RFC 3030 section 2). Raises SyntaxFault."""
    matched = _BDAT.fullmatch(command.argument)
    if not matched or int(matched[1]) > MOST_OCTETS:
        raise SyntaxFault
    return int(matched[1]), matched[2] is not None


def auth(command: Command) -> tuple[bytes, bytes | None]:
    """AUTH's mechanism in upper case, and its initial response, still base64 ("=" is an empty one), or None.

    Raises SyntaxFault.
    """
    words = command.argument.split()
    if not 1 <= len(words) <= 2:  # noqa: PLR2004  RFC 4954 section 4
        raise SyntaxFault
    return words[0].upper(), words[1] if len(words) > 1 else None


# --- XCLIENT ---------------------------------------------------------------------------------------------------------

_NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")


def xtext(value: bytes) -> bytes:
    """A value of an XCLIENT attribute (RFC 3461 section 4): "+" and two hexadecimal digits for what may not stand."""
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], value)
