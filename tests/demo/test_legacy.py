"""The legacy server is honest: it says 250 to what it recorded, and records what came, byte for byte."""

from __future__ import annotations

import smtplib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from gatepost.demo.legacy import LINE_BYTES, MESSAGE_BYTES, LegacyServer, Login

USERS = {b"anna": b"open sesame"}
PLAIN = b64encode(b"\0anna\0open sesame")


class Talk:
    """A connection to the server: say lines, read replies."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._received = b""

    async def say(self, data: bytes) -> bytes:
        await self.stream.send_all(data)
        return await self.reply()

    async def reply(self) -> bytes:
        while not self._received.endswith(b"\r\n") or self._received.rsplit(b"\r\n", 2)[-2][3:4] != b" ":
            data = await self.stream.receive_some()
            assert data, "the server hung up"
            self._received += data
        reply, self._received = self._received, b""
        return reply

    async def say_all(self, *lines: bytes) -> None:
        for line in lines:
            assert (await self.say(line))[:1] in {b"2", b"3"}, line


@asynccontextmanager
async def talk() -> AsyncIterator[tuple[LegacyServer, Talk]]:
    server = LegacyServer(USERS)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(server.serve)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                talk = Talk(stream)
                assert (await talk.reply()).startswith(b"220 ")
                yield server, talk
            nursery.cancel_scope.cancel()


async def test_ehlo_offers_what_the_server_has_and_no_tls() -> None:
    async with talk() as (_, client):
        offer = await client.say(b"EHLO here\r\n")
        assert offer.split(b"\r\n")[1:-1] == [
            b"250-SIZE %d" % MESSAGE_BYTES,
            b"250-8BITMIME",
            b"250-PIPELINING",
            b"250 AUTH PLAIN LOGIN",
        ]
        assert (await client.say(b"STARTTLS\r\n")).startswith(b"500 ")
        assert await client.say(b"HELO here\r\n") == b"250 legacy.example\r\n"


@pytest.mark.parametrize(
    ("dialogue", "mechanism"),
    [
        ([b"AUTH PLAIN " + PLAIN], b"PLAIN"),
        ([b"auth plain", PLAIN], b"PLAIN"),
        ([b"AUTH LOGIN", b64encode(b"anna"), b64encode(b"open sesame")], b"LOGIN"),
        ([b"AUTH LOGIN " + b64encode(b"anna"), b64encode(b"open sesame")], b"LOGIN"),
    ],
)
async def test_right_credentials_are_recorded_as_a_login(dialogue: list[bytes], mechanism: bytes) -> None:
    async with talk() as (server, client):
        await client.say(b"EHLO here\r\n")
        *challenged, last = dialogue
        for line in challenged:
            assert (await client.say(line + b"\r\n")).startswith(b"334 ")
        assert (await client.say(last + b"\r\n")).startswith(b"235 ")
        assert server.sessions[0].logins == [Login(mechanism, b"anna")]
        assert server.sessions[0].lines[1:] == [line + b"\r\n" for line in dialogue]
        assert (await client.say(b"AUTH PLAIN " + PLAIN + b"\r\n")).startswith(b"503 ")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"AUTH PLAIN " + b64encode(b"\0anna\0wrong"), b"535"),
        (b"AUTH PLAIN " + b64encode(b"\0nobody\0open sesame"), b"535"),
        (b"AUTH PLAIN " + b64encode(b"no separators"), b"501"),
        (b"AUTH PLAIN =", b"501"),
        (b"AUTH PLAIN *", b"501"),
        (b"AUTH PLAIN !", b"501"),
        (b"AUTH CRAM-MD5", b"504"),
    ],
)
async def test_wrong_credentials_are_no_login(line: bytes, code: bytes) -> None:
    async with talk() as (server, client):
        assert (await client.say(line + b"\r\n")).startswith(b"503 ")  # before EHLO
        await client.say(b"EHLO here\r\n")
        assert (await client.say(line + b"\r\n")).startswith(code)
        assert server.sessions[0].logins == []
        assert (await client.say(b"AUTH PLAIN " + PLAIN + b"\r\n")).startswith(b"235 ")


BODIES = [
    (b".\r\n", b"", b""),
    (b"one\r\n.\r\n", b"one\r\n", b"one\r\n"),
    (b"..\r\n.\r\n", b"..\r\n", b".\r\n"),
    (b"a\r\n...b\r\n..\r\n.\r\n", b"a\r\n...b\r\n..\r\n", b"a\r\n..b\r\n.\r\n"),
    (b"a\n.\r\nb\r\n.\nc\r.\r\n.\r\n", b"a\n.\r\nb\r\n.\nc\r.\r\n", b"a\n.\r\nb\r\n\nc\r.\r\n"),
    (b"\xff\x00\xe4\r\n.\r\n", b"\xff\x00\xe4\r\n", b"\xff\x00\xe4\r\n"),
]


@pytest.mark.parametrize(("wire", "octets", "content"), BODIES)
@pytest.mark.parametrize("step", [1, 2, 3, 100])
async def test_a_message_ends_at_crlf_dot_crlf_and_is_recorded_as_it_came(
    wire: bytes, octets: bytes, content: bytes, step: int
) -> None:
    async with talk() as (server, client):
        await client.say_all(
            b"EHLO here\r\n", b"MAIL FROM:<a@b> SIZE=9\r\n", b"RCPT TO:<c@d>\r\n", b"RCPT TO:<e@f>\r\n"
        )
        await client.say_all(b"DATA\r\n")
        for start in range(0, len(wire), step):
            await client.stream.send_all(wire[start : start + step])
        assert (await client.reply()).startswith(b"250 ")
        (message,) = server.messages
        assert (message.octets, message.content) == (octets, content)
        assert message.sender == b"FROM:<a@b> SIZE=9"
        assert message.recipients == (b"TO:<c@d>", b"TO:<e@f>")


async def test_a_pipelined_group_and_what_follows_the_dot_are_answered_in_order() -> None:
    async with talk() as (server, client):
        await client.say(b"EHLO here\r\n")
        await client.say_all(b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n")
        await client.stream.send_all(b"x\r\n.\r\nMAIL FROM:<g@h>\r\nRCPT TO:<i@j>\r\nRSET\r\nDATA\r\nQUIT\r\n")
        replies = b""
        while data := await client.stream.receive_some():
            replies += data
        assert [line[:3] for line in replies.splitlines()] == [b"250", b"250", b"250", b"250", b"503", b"221"]
        assert [message.content for message in server.messages] == [b"x\r\n"]
        await server.sessions[0].ended.wait()


async def test_commands_out_of_order_are_refused() -> None:
    async with talk() as (_, client):
        assert (await client.say(b"MAIL FROM:<a@b>\r\n")).startswith(b"503 ")
        await client.say(b"EHLO here\r\n")
        assert (await client.say(b"RCPT TO:<c@d>\r\n")).startswith(b"503 ")
        assert (await client.say(b"MAIL FROM:<a@b> SIZE=%d\r\n" % (MESSAGE_BYTES + 1))).startswith(b"552 ")
        assert (await client.say(b"MAIL FROM:<a@b>\r\n")).startswith(b"250 ")
        assert (await client.say(b"MAIL FROM:<a@b>\r\n")).startswith(b"503 ")
        assert (await client.say(b"DATA\r\n")).startswith(b"503 ")
        assert (await client.say(b"NOOP\r\n")).startswith(b"250 ")


async def test_a_client_that_vanishes_in_a_body_leaves_no_message_and_the_server_up() -> None:
    async with talk() as (server, client):
        await client.say_all(b"EHLO here\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n")
        await client.stream.send_all(b"half a mess")
        await client.stream.aclose()
        await server.sessions[0].ended.wait()
        assert server.messages == []


async def test_an_endless_line_ends_the_connection() -> None:
    async with talk() as (server, client):
        await client.stream.send_all(b"x" * (LINE_BYTES + 1))
        await server.sessions[0].ended.wait()
        assert server.sessions[0].lines == []


async def test_passwords_are_not_in_the_representation_of_the_record() -> None:
    async with talk() as (server, client):
        await client.say_all(b"EHLO here\r\n", b"AUTH PLAIN " + PLAIN + b"\r\n")
        shown = repr(server.sessions)
        assert "anna" in shown
        assert PLAIN.decode() not in shown


async def test_a_stock_client_logs_in_and_delivers() -> None:
    server = LegacyServer(USERS)
    text = b"Subject: hello\r\n\r\n.dot\r\n" + b"line\r\n" * 50_000

    def deliver(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            client.login("anna", "open sesame")
            client.sendmail("a@b", ["c@d"], text)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve)
        await trio.to_thread.run_sync(deliver, port)
        nursery.cancel_scope.cancel()
    assert [message.content for message in server.messages] == [text]
