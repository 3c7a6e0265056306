"""The upstream leg: reaching the server, saying EHLO and STARTTLS, logging in, leaving.

The upstream is opened late, by `reach`, when something has to be relayed or presented to it: what unauthenticated
clients say never touches the server behind. The periodic probe is the same procedure without a client.
"""

from __future__ import annotations

from contextlib import suppress

from gatepost.facts import Leg, UpstreamFailure
from gatepost.policy import Upstream
from gatepost.sasl.exchange import Malformed, decode, encode
from gatepost.sasl.plan import Plan
from gatepost.session.talk import Steps, Talk
from gatepost.session.vocabulary import Close, Open, Secure, UpstreamLost
from gatepost.settings import UpstreamTls
from gatepost.wire import capabilities
from gatepost.wire.capabilities import Capabilities
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


def authenticate(talk: Talk, plan: Plan) -> Steps[Reply]:
    """Carry out a plan; the upstream's last reply. Raises UpstreamLost."""
    command = b"AUTH " + plan.mechanism.value.encode()
    response = next(plan.exchange)
    if response is not None:
        initial = b" " + (encode(response) or b"=")
        if len(command) + len(initial) + 2 <= AUTH_COMMAND_BYTES:
            command += initial
            response = None
    talk.tell(command + b"\r\n")
    reply = yield from talk.reply(talk.waits.login)
    while reply.code == 334:  # noqa: PLR2004  RFC 4954 section 4
        if response is None:
            response = _respond(plan, reply)
        if response is None:
            return (yield from _cancel(talk))
        talk.tell(encode(response) + b"\r\n")
        response = None
        reply = yield from talk.reply(talk.waits.login)
    return reply


def _cancel(talk: Talk) -> Steps[Reply]:
    """End the exchange by "*" (RFC 4954 section 4). Raises UpstreamLost: who asks on might do so for ever."""
    talk.tell(b"*\r\n")
    reply = yield from talk.reply(talk.waits.login)
    if reply.code == 334:  # noqa: PLR2004
        raise UpstreamLost(UpstreamFailure.GARBLED)
    return reply


def _respond(plan: Plan, reply: Reply) -> bytes | None:
    """The answer to a challenge; None: the server wants more than the mechanism has, so cancel."""
    try:
        return plan.exchange.send(decode(reply.lines[-1].strip()))
    except (StopIteration, Malformed):
        return None


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
