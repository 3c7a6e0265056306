"""Handshakes on real sockets: cut anywhere, resumed, and gone wrong, each for its reason."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme

from far import TLS_1_1, TLS_1_2, TLS_1_3, Far, linked, received, trusting
from gatehouse import AUTHORITY, HOST, certificates
from gatepost.facts import HandshakeFailure
from gatepost.net.tls import Certificates, HandshakeError
from gatepost.settings import TlsProfile


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return Certificates(certificates(tmp_path)).context(TlsProfile.INTERMEDIATE)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("cut", [1, 7, 65_536])
async def test_a_client_is_secured_however_its_bytes_are_cut(
    server: ssl.SSLContext, version: ssl.TLSVersion, cut: int
) -> None:
    async with linked() as (near, far):
        far.cut = cut
        await far.send(b"STARTTLS\r\n")
        assert await received(near, 10) == b"STARTTLS\r\n"
        assert near.send(b"220 go\r\n")
        assert await far.hear(8) == b"220 go\r\n"
        far.begin(trusting(version))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.shake_hands)
            tls = await near.secure(server, server_side=True)
        assert (tls.version, tls.resumed, tls.verified) == (version.name.replace("_", "."), False, False)
        for word in (b"EHLO me\r\n", b"QUIT\r\n"):
            await far.send(far.sealed(word))
            assert await received(near, len(word)) == word
            assert near.send(b"250 " + word)
            assert await far.hear_sealed(len(word) + 4) == b"250 " + word
        assert b"250 " not in far.raw


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("cut", [1, 65_536])
async def test_an_upstream_is_secured_however_its_bytes_are_cut(version: ssl.TLSVersion, cut: int) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued = AUTHORITY.issue_cert(HOST)
    issued.configure_cert(theirs)
    async with linked() as (near, far):
        assert near.peer_certificate() is None
        far.cut = cut
        far.begin(theirs, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.shake_hands)
            tls = await near.secure(trusting(version), server_side=False, server_name=HOST)
        assert (tls.version, tls.verified) == (version.name.replace("_", "."), True)
        assert near.peer_certificate() == ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        await far.send(far.sealed(b"220 legacy\r\n"))
        assert await received(near, 12) == b"220 legacy\r\n"
        assert near.send(b"EHLO me\r\n")
        assert await far.hear_sealed(9) == b"EHLO me\r\n"


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_what_comes_right_behind_the_handshake_is_not_left_lying(
    server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async with linked() as (near, far):
        far.begin(trusting(version))
        async with trio.open_nursery() as nursery:

            async def shake_hands() -> None:
                await far.shake_hands(and_say=b"EHLO me\r\n")

            nursery.start_soon(shake_hands)
            await near.secure(server, server_side=True)
        assert await received(near, 9) == b"EHLO me\r\n"


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_a_session_is_resumed(server: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    context, session = trusting(version), None
    resumed = []
    for _ in range(2):
        async with linked() as (near, far):
            far.begin(context, session=session)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.shake_hands)
                tls = await near.secure(server, server_side=True)
            assert near.send(b"220 mx\r\n")
            assert await far.hear_sealed(8) == b"220 mx\r\n"
            session = far.tls.session
            resumed.append(tls.resumed)
    assert resumed == [False, True]


# --- handshakes that fail --------------------------------------------------------------------------------------------


async def leave(far: Far) -> None:
    await far.stream.send_eof()


async def leave_half_way(far: Far) -> None:
    far.begin(trusting())
    with suppress(ssl.SSLWantReadError):
        far.tls.do_handshake()
    await far.send(far.outgoing.read()[:100])
    await far.stream.send_eof()


async def leave_before_the_last_word(far: Far) -> None:
    far.begin(trusting())
    with suppress(ssl.SSLWantReadError):
        far.tls.do_handshake()
    await far.send(far.outgoing.read())
    assert await far.receive()
    await far.stream.send_eof()


def saying(data: bytes) -> Callable[[Far], Awaitable[None]]:
    async def say(far: Far) -> None:
        await far.send(data)

    return say


def trying(context: Callable[[], ssl.SSLContext]) -> Callable[[Far], Awaitable[None]]:
    async def shake_hands(far: Far) -> None:
        far.begin(context())
        with suppress(ssl.SSLError):
            await far.shake_hands()
        await far.send(far.outgoing.read())  # the alert

    return shake_hands


def outdated() -> ssl.SSLContext:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context = trusting(TLS_1_1)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def odd_ciphers() -> ssl.SSLContext:
    context = trusting(TLS_1_2)
    context.set_ciphers("AES128-SHA")
    return context


FAILURES: list[tuple[str, Callable[[Far], Awaitable[None]], HandshakeFailure]] = [
    ("leaves at once", leave, HandshakeFailure.NO_HELLO),
    ("leaves half way", leave_half_way, HandshakeFailure.PEER_CLOSED),
    ("leaves before its last word", leave_before_the_last_word, HandshakeFailure.PEER_CLOSED),
    ("speaks HTTP", saying(b"GET / HTTP/1.1\r\nHost: mx.example\r\n\r\n"), HandshakeFailure.NOT_TLS),
    ("speaks HTTP to a proxy", saying(b"CONNECT a:25 HTTP/1.1\r\n\r\n"), HandshakeFailure.NOT_TLS),
    ("speaks SMTP", saying(b"EHLO client.example\r\n"), HandshakeFailure.NOT_TLS),
    ("says nothing but zeros", saying(bytes(100)), HandshakeFailure.NOT_TLS),
    ("is outdated", trying(outdated), HandshakeFailure.UNSUPPORTED_VERSION),
    ("has odd ciphers", trying(odd_ciphers), HandshakeFailure.NO_SHARED_CIPHER),
    ("does not trust us", trying(ssl.create_default_context), HandshakeFailure.BAD_CERTIFICATE),
    ("sends a damaged hello", saying(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), HandshakeFailure.OTHER),
]


@pytest.mark.parametrize(
    ("behave", "reason"), [row[1:] for row in FAILURES], ids=[row[0].replace(" ", "-") for row in FAILURES]
)
async def test_why_a_client_was_not_secured(
    server: ssl.SSLContext, behave: Callable[[Far], Awaitable[None]], reason: HandshakeFailure
) -> None:
    async with linked() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(behave, far)
        with pytest.raises(HandshakeError) as caught:
            await near.secure(server, server_side=True)
        assert caught.value.reason is reason
        near.close()


async def test_a_client_that_resets_before_it_was_heard_said_nothing(server: ssl.SSLContext) -> None:
    async with linked() as (near, far):
        await far.reset()
        with pytest.raises(HandshakeError) as caught:
            await near.secure(server, server_side=True)
        assert caught.value.reason is HandshakeFailure.NO_HELLO


async def test_a_client_that_owes_a_certificate(server: ssl.SSLContext) -> None:
    server.load_verify_locations(cadata=AUTHORITY.cert_pem.bytes().decode())
    server.verify_mode = ssl.CERT_REQUIRED
    async with linked() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(trying(trusting), far)
        with pytest.raises(HandshakeError) as caught:
            await near.secure(server, server_side=True)
        assert caught.value.reason is HandshakeFailure.NO_CERTIFICATE


async def test_an_upstream_that_is_not_believed_is_told(server: ssl.SSLContext) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(HOST).configure_cert(theirs)
    async with linked() as (near, far), trio.open_nursery() as nursery:
        far.begin(theirs, server_side=True)

        async def serve() -> None:
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await far.shake_hands()

        nursery.start_soon(serve)
        with pytest.raises(HandshakeError) as caught:
            await near.secure(trusting(), server_side=False, server_name=HOST)
        assert caught.value.reason is HandshakeFailure.BAD_CERTIFICATE


async def test_an_upstream_that_speaks_no_tls() -> None:
    async with linked() as (near, far):
        await far.send(b"220 legacy\r\n")
        with pytest.raises(HandshakeError) as caught:
            await near.secure(trusting(), server_side=False, server_name=HOST)
        assert caught.value.reason is HandshakeFailure.NOT_TLS
