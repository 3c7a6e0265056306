"""The doors: who is let in, how many, and how all of them leave."""

import errno
import socket
from pathlib import Path

import pytest
import trio

from gatehouse import Line, honest_until, house
from gatepost.facts import ConnectionRefused, Crashed, DrainBegan, Ending, Limit
from gatepost.net.listeners import Door, counted_as, listen
from gatepost.session import login
from gatepost.settings import Address

MAIL = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


def test_an_ipv6_client_is_its_slash_64() -> None:
    assert counted_as("2001:db8:1:2:3:4:5:6") == counted_as("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert counted_as("2001:db8:1:3::1") != counted_as("2001:db8:1:2::1")
    assert counted_as("192.0.2.7") == "192.0.2.7"


def test_all_addresses_of_ipv6_take_ipv4_too() -> None:
    with listen(Address("::", 0), dual=True) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_a_port_that_is_taken_is_an_error_and_leaks_nothing() -> None:
    with listen(Address("127.0.0.1", 0), dual=True) as listening:
        with pytest.raises(OSError) as caught:  # noqa: PT011  its number says which
            listen(Address("127.0.0.1", listening.getsockname()[1]), dual=True)
        assert caught.value.errno == errno.EADDRINUSE


async def test_more_conversations_than_there_may_be(tmp_path: Path) -> None:
    async with house(tmp_path, limits={"conversations": 2}) as it:
        first, _ = await it.connect(), await it.connect()
        third = await it.dial()
        assert await third.rest() == b"421 4.3.2 Too many connections, try again later\r\n"
        await first.said(b"QUIT")
        await it.notes.ended()
        await it.connect()
    assert ConnectionRefused("starttls", Limit.CONVERSATIONS, "127.0.0.1") in it.notes.facts


async def test_more_conversations_than_one_client_may_have(tmp_path: Path) -> None:
    limits = {"conversations_per_client": 2, "uncounted": ["192.0.2.0/24"]}
    async with house(tmp_path, limits=limits) as it:
        first, _ = await it.connect(), await it.connect()
        third = await it.dial()
        assert await third.rest() == b"421 4.7.0 Too many connections from your address\r\n"
        fourth = await it.dial(implicit=True)
        assert await fourth.rest() == b""  # without TLS there is nothing that could be said
        await first.said(b"QUIT")
        await it.notes.ended()
        await it.connect()
    assert ConnectionRefused("implicit", Limit.CONVERSATIONS_PER_CLIENT, "127.0.0.1") in it.notes.facts


async def test_addresses_that_stand_for_many_are_not_counted(tmp_path: Path) -> None:
    async with house(tmp_path, limits={"conversations_per_client": 1}) as it:
        for _ in range(5):
            await it.connect()


async def test_running_out_of_descriptors_does_not_close_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.accept
    failures = [OSError(errno.EMFILE, "too many"), OSError(errno.ECONNABORTED, "gone")]

    def accept(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop(0)
        return real(listening)

    async with house(tmp_path) as it:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert (await (await it.dial()).reply()).startswith(b"220")
    assert ConnectionRefused("starttls", Limit.FILE_DESCRIPTORS) in it.notes.facts


async def test_stopping_lets_idle_clients_go_and_closes_the_door(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        fresh, logged_in = await it.connect(), await it.connect()
        await logged_in.log_in()
        it.stop.set()
        for line in (fresh, logged_in):
            assert await line.reply() == b"421 4.3.2 Service shutting down, closing connection"
        await it.left.wait()
        with pytest.raises(OSError):  # noqa: PT011  refused
            await it.dial()
    assert it.cut_off == [0]
    assert [summary.ending for summary in it.notes.endings] == [Ending.DRAINED, Ending.DRAINED]
    assert DrainBegan(2) in it.notes.facts


async def test_stopping_waits_for_a_message_under_way(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        line = await it.connect()
        await line.log_in()
        await line.send(MAIL)
        assert [(await line.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        await line.send(b"the first half\r\n")
        it.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await line.send(b"the second half\r\n.\r\n")
        assert await line.reply() == b"250 queued"
        assert await line.reply() == b"421 4.3.2 Service shutting down, closing connection"
        await it.left.wait()
    assert it.cut_off == [0]
    assert it.notes.endings[0].messages_accepted == 1


async def test_stopping_waits_for_the_upstreams_answer(tmp_path: Path) -> None:
    answer = trio.Event()

    async def slow(leg: Line) -> None:
        if await honest_until(leg, b"DOT"):
            await answer.wait()
            await leg.send(b"250 queued at last\r\n")
            await leg.rest()

    async with house(tmp_path, slow) as it:
        line = await it.connect()
        await line.log_in()
        await line.send(MAIL)
        assert [(await line.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        await line.send(b"text\r\n.\r\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        it.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        answer.set()
        assert await line.reply() == b"250 queued at last"
        assert (await line.reply()).startswith(b"421 4.3.2")


async def test_who_has_not_left_in_time_is_cut_off(tmp_path: Path) -> None:
    async with house(tmp_path, timeouts={"drain": 0.2}) as it:
        line = await it.connect()
        await line.log_in()
        await line.send(MAIL)
        assert [(await line.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        await line.send(b"half a message\r\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        it.stop.set()
        await it.left.wait()
        assert await line.rest() == b""
    assert it.cut_off == [1]
    (summary,) = it.notes.endings
    assert summary.ending is Ending.CUT_OFF
    assert summary.messages_accepted == 0


async def test_a_bug_costs_one_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it says is told to nobody: it may be secret."""

    def bug(*_args: object, **_kwargs: object) -> None:
        secret = "AGFsaWNlAHB3"
        raise ValueError(f"cannot cope with {secret}")

    async with house(tmp_path) as it:
        good, bad = await it.connect(), await it.connect()
        await bad.starttls()
        await bad.said(b"EHLO me")
        with monkeypatch.context() as patched:
            patched.setattr(login, "present", bug)
            assert await bad.said(b"AUTH PLAIN AGFsaWNlAHB3") == b"421 4.3.0 Internal fault, closing connection"
            assert await bad.rest() == b""
        await good.log_in()
        assert (await good.said(b"QUIT")).startswith(b"221")
        await it.notes.ended(2)
    (crash,) = [fact for fact in it.notes.facts if isinstance(fact, Crashed)]
    assert crash.error == "ValueError"
    assert any("login.py" in frame for frame in crash.frames)
    assert "AGFsaWNlAHB3" not in repr(it.notes.facts)
    assert it.notes.endings[0].ending is Ending.CRASHED


async def test_who_stands_where_and_who_waits_outside_is_measured(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.connect()
        secured = await it.connect()
        await secured.starttls()
        assert (await secured.said(b"EHLO me")).startswith(b"250")
        with listen(Address("127.0.0.1", 0), dual=False) as outside:  # nobody accepts there
            waiting = [await trio.open_tcp_stream(*outside.getsockname()) for _ in range(3)]
            measured = it.gate.measured([Door("outside", (outside,))])
            for stream in waiting:
                await stream.aclose()
        assert measured.active == {("starttls", "clear_fresh"): 1, ("starttls", "tls_ready"): 1}
        assert measured.waiting == {"outside": 3}
