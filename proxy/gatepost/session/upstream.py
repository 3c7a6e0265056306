"""The upstream leg: reaching the server, saying EHLO and STARTTLS, logging in, leaving.

The upstream is opened late, by `reach`, when something has to be relayed or presented to it: what unauthenticated
clients say never touches the server behind. The periodic probe is the same procedure without a client.
"""

from __future__ import annotations

from contextlib import suppress

from gatepost.facts import Leg, Mechanism, UpstreamFailure
from gatepost.policy import Upstream
from gatepost.sasl.exchange import ClientExchange, Malformed, Unproven, decode, encode
from gatepost.sasl.questions import Question
from gatepost.session.talk import Steps, Talk
from gatepost.session.vocabulary import BackendLost, Close, Open, Secure, UpstreamLost
from gatepost.settings import UpstreamTls
from gatepost.wire import capabilities
from gatepost.wire.capabilities import Capabilities
from gatepost.wire.commands import xtext
from gatepost.wire.replies import Reply

AUTH_COMMAND_BYTES = 512  # RFC 4954 section 4: an initial response must not make the command longer


def reach(talk: Talk) -> Steps[None]:
    """Open the upstream and say hello, unless that is done. Raises UpstreamLost, with nothing left open."""
    if talk.live is not None:
        return
    try:
        yield from _dial(talk)
    except UpstreamLost as lost:
        talk.drop_upstream(lost.reason)
        raise


def _dial(talk: Talk) -> Steps[None]:
    settings = talk.rules.upstream
    talk.actions.append(Open())
    yield talk.waits.connect
    talk.upstream_open = True
    if settings.tls is UpstreamTls.IMPLICIT:
        yield from _secure(talk)
    greeting = yield from talk.reply(talk.waits.greeting)
    if greeting.code != 220:  # noqa: PLR2004  RFC 5321 section 4.3.2
        raise UpstreamLost(UpstreamFailure.GREETING_REFUSED)
    offered = yield from _hello(talk)
    if settings.tls in (UpstreamTls.STARTTLS, UpstreamTls.OPPORTUNISTIC):
        offered = yield from _upgrade(talk, offered, required=settings.tls is UpstreamTls.STARTTLS)
    _note_capabilities(talk, offered)


def _note_capabilities(talk: Talk, offered: Capabilities) -> None:
    tls = talk.upstream_tls
    guarded = (
        talk.rules.upstream.trusted
        or (tls is not None and tls.verified)
        or (talk.peer is not None and talk.peer.loopback)
    )
    talk.live = Upstream(offered, encrypted=tls is not None, guarded=guarded)


def _hello(talk: Talk) -> Steps[Capabilities]:
    """EHLO with the client's own name; HELO for servers from before RFC 1869."""
    name = talk.hello or talk.policy.hostname
    talk.tell(b"EHLO " + name + b"\r\n")
    reply = yield from talk.reply(talk.waits.login)
    if reply.code == 250:  # noqa: PLR2004
        return capabilities.read(reply.lines)
    if reply.code in (500, 502):
        talk.tell(b"HELO " + name + b"\r\n")
        reply = yield from talk.reply(talk.waits.login)
        if reply.code == 250:  # noqa: PLR2004
            return Capabilities()
    raise UpstreamLost(UpstreamFailure.HELLO_REFUSED)


def _upgrade(talk: Talk, offered: Capabilities, *, required: bool) -> Steps[Capabilities]:
    """STARTTLS toward the upstream (RFC 3207)."""
    if b"STARTTLS" in offered:
        talk.tell(b"STARTTLS\r\n")
        reply = yield from talk.reply(talk.waits.login)
        if reply.code == 220:  # noqa: PLR2004
            if len(talk.upstream):  # replies injected before the handshake would be taken for secured ones
                raise UpstreamLost(UpstreamFailure.GARBLED)
            yield from _secure(talk)
            return (yield from _hello(talk))
    if required:
        raise UpstreamLost(UpstreamFailure.TLS_MISSING)
    return offered


def _secure(talk: Talk) -> Steps[None]:
    talk.actions.append(Secure(Leg.UPSTREAM))
    yield talk.waits.upstream_handshake
    talk.summary.upstream_tls = talk.upstream_tls


def hello_again(talk: Talk) -> Steps[None]:
    """The client said EHLO again: so does the upstream, which ends any transaction. Raises UpstreamLost."""
    if talk.live is not None:
        _note_capabilities(talk, (yield from _hello(talk)))


def authenticate(talk: Talk, mechanism: Mechanism, exchange: ClientExchange) -> Steps[Reply | None]:
    """Log in by an exchange; the upstream's last reply, or None if it had to be broken off.

    Raises UpstreamLost, BackendLost, Unproven.
    """
    response = yield from _speak(talk, exchange, None)
    initial = None if response is None else encode(response) or b"="
    reply = yield from begin(talk, mechanism, initial)
    while reply.code == 334:  # noqa: PLR2004  RFC 4954 section 4
        try:
            response = yield from _speak(talk, exchange, decode(reply.lines[-1].strip()))
        except BackendLost:
            yield from cancel(talk)
            raise
        except Malformed:
            response = None
        if response is None:
            yield from cancel(talk)
            return None
        talk.tell(encode(response) + b"\r\n")
        reply = yield from talk.reply(talk.waits.login)
    if reply.code == 235:  # noqa: PLR2004
        _conclude(exchange)
    return reply


def begin(talk: Talk, mechanism: Mechanism, initial: bytes | None) -> Steps[Reply]:
    """AUTH and an initial response in base64, in one command if it is short enough. Raises UpstreamLost."""
    command = b"AUTH " + mechanism.value.encode()
    if initial is not None and len(command) + len(initial) + 3 <= AUTH_COMMAND_BYTES:
        command, initial = command + b" " + initial, None
    talk.tell(command + b"\r\n")
    reply = yield from talk.reply(talk.waits.login)
    if initial is not None and reply.code == 334:  # noqa: PLR2004
        talk.tell(initial + b"\r\n")
        reply = yield from talk.reply(talk.waits.login)
    elif initial is not None and reply.code == 235:  # noqa: PLR2004
        raise Unproven  # it accepted what it was not shown
    return reply


def _speak(talk: Talk, exchange: ClientExchange, heard: object) -> Steps[bytes | None]:
    """What the exchange says next, its questions answered on the way; None: nothing, and the server wants more."""
    try:
        said = exchange.send(heard)
        while isinstance(said, Question):
            said = exchange.send((yield from talk.ask(said)))
    except StopIteration:
        return None
    return said


def _conclude(exchange: ClientExchange) -> None:
    """The server has accepted: is that all the exchange waited for? Raises Unproven."""
    try:
        exchange.send(None)
    except StopIteration:
        return
    raise Unproven


def cancel(talk: Talk) -> Steps[None]:
    """End an exchange by "*" (RFC 4954 section 4). Raises UpstreamLost, also for what is no refusal."""
    talk.tell(b"*\r\n")
    reply = yield from talk.reply(talk.waits.login)
    if reply.code == 421 or reply.code < 400:  # noqa: PLR2004
        raise UpstreamLost(UpstreamFailure.GARBLED)


def state_login(talk: Talk, login: bytes) -> Steps[Reply]:
    """XCLIENT LOGIN, for an upstream that trusts our address: it then knows who the client is. Raises UpstreamLost."""
    talk.tell(b"XCLIENT LOGIN=" + xtext(login) + b"\r\n")
    reply = yield from talk.reply(talk.waits.login)
    if reply.code == 220:  # noqa: PLR2004  and it has forgotten everything else
        yield from hello_again(talk)
    return reply


def leave(talk: Talk) -> Steps[None]:
    """QUIT, and wait a little for the answer, so that the server logs an orderly end."""
    if talk.upstream_open and talk.in_body:
        talk.drop_upstream()  # nothing may follow that could be taken for the end of the message
    if not talk.upstream_open:
        return
    try:
        with suppress(UpstreamLost):
            talk.tell(b"QUIT\r\n")
            yield from talk.reply(talk.waits.goodbye)
    finally:  # also when the client is lost meanwhile
        talk.actions.append(Close(Leg.UPSTREAM))
        talk.upstream_open = False


def probe(talk: Talk) -> Steps[None]:
    """Ask the upstream what it can do: `talk.live` holds the answer, or the summary the failure."""
    try:
        yield from reach(talk)
    except UpstreamLost:
        return
    yield from leave(talk)


def ask_to_relay(talk: Talk, recipient: bytes) -> Steps[None]:
    """Ask the upstream for what a stranger must not get; `talk.recipients` is 1 if it would take the message."""
    try:
        yield from reach(talk)
        for command in (b"MAIL FROM:<>", b"RCPT TO:<" + recipient + b">"):
            talk.tell(command + b"\r\n")
            reply = yield from talk.reply(talk.waits.login)
            if not reply.completed:
                break
        else:
            talk.recipients = 1
        talk.tell(b"RSET\r\n")
        yield from talk.reply(talk.waits.login)
    except UpstreamLost as lost:
        talk.drop_upstream(lost.reason)
        return
    yield from leave(talk)
