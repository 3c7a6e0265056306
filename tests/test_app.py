"""The application as it is run: `gatepost run`, signals, readiness."""

import signal
import smtplib
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from gatehouse import certificates, free_port
from gatepost.demo.legacy import LegacyServer
from program import running


@contextmanager
def legacy() -> Iterator[tuple[int, LegacyServer]]:
    """The honest old server, in a thread of its own."""
    server = LegacyServer({b"alice": b"pw"})
    ready: list[int] = []
    started = socket.socketpair()
    token: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        with scope:
            async with trio.open_nursery() as nursery:
                ready.append(await nursery.start(server.serve))
                started[1].send(b"x")

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    started[0].recv(1)
    try:
        yield ready[0], server
    finally:
        token[0].run_sync_soon(scope.cancel)
        thread.join()
        for end in started:
            end.close()


def send(client: smtplib.SMTP, body: str = "text") -> None:
    client.login("alice", "pw")
    client.sendmail("a@example.org", ["b@example.net"], body)


def test_sigterm_ends_it_in_good_order(tmp_path: Path) -> None:
    with legacy() as (port, server), running(tmp_path, port) as program:
        client = program.client()
        send(client)
        program.process.send_signal(signal.SIGTERM)
        assert program.event("stopped")["gatepost.cut_off"] == 0
        assert program.process.wait(20) == 0
        assert client.sock
        assert client.getreply()[0] == 421
        client.close()
        assert len(server.messages) == 1


def test_readiness_ends_with_the_signal_and_a_second_one_ends_all(tmp_path: Path) -> None:
    with legacy() as (port, server), running(tmp_path, port) as program:
        client = program.client()
        client.login("alice", "pw")
        client.mail("a@example.org")
        client.rcpt("b@example.net")
        client.docmd("DATA")
        client.send(b"half a message\r\n")
        assert program.page("/readyz")[0] == 200
        program.process.send_signal(signal.SIGTERM)
        program.event("draining")
        assert program.page("/readyz") == (503, "stopping\n")
        assert program.page("/livez")[0] == 200
        with pytest.raises(OSError):  # noqa: PT011  refused
            socket.create_connection(("127.0.0.1", program.ports["submission"]))
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(20) == 0
        client.close()
        assert server.messages == []


def test_it_is_ready_when_the_upstream_is(tmp_path: Path) -> None:
    nobody = free_port()
    with running(tmp_path, nobody) as program:
        program.event("upstream down")
        assert program.page("/readyz") == (503, "upstream: unreachable\n")
        with socket.create_server(("127.0.0.1", nobody)) as listening:
            probe, _ = listening.accept()
            with probe:
                probe.sendall(b"220 legacy\r\n")
                assert probe.recv(1000).startswith(b"EHLO")
                probe.sendall(b"250-legacy\r\n250 AUTH PLAIN\r\n")
                assert probe.recv(1000) == b"QUIT\r\n"
                probe.sendall(b"221 bye\r\n")
            program.event("upstream up")
            assert program.page("/readyz") == (200, "ready\n")


def test_new_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    with legacy() as (port, _), running(tmp_path, port) as program:
        certificates(tmp_path, "renewed.example")
        assert program.event("certificate loaded")["file.name"] == str(tmp_path / "cert.pem")
        assert 'name="renewed.example"' in program.page("/metrics")[1]
        (tmp_path / "key.pem").write_text("no key")
        program.event("certificates refused")
        assert "gatepost_certificate_reload_failures_total 1.0" in program.page("/metrics")[1]


def test_the_password_is_nowhere_it_should_not_be(tmp_path: Path) -> None:
    """In no log event, metric, argument or environment: good and bad logins, in the clear and over TLS."""
    password = "tanzende-Baeren-7391"
    with legacy() as (port, _), running(tmp_path, port) as program:
        clear = smtplib.SMTP("127.0.0.1", program.ports["submission"], timeout=20)
        clear.ehlo()
        blob = b64encode(f"\0alice\0{password}".encode()).decode()
        assert clear.docmd("AUTH", f"PLAIN {blob}")[0] == 530
        assert clear.docmd(b64encode(password.encode()).decode())[0] == 500
        clear.quit()
        client = program.client()
        client.ehlo()
        assert client.docmd("AUTH", f"PLAIN {blob}")[0] == 535
        assert client.docmd("AUTH", f"PLAIN {blob}xx")[0] == 501
        client.docmd("AUTH", "LOGIN")
        client.docmd(b64encode(b"alice").decode())
        assert client.docmd(b64encode(password.encode()).decode())[0] == 535
        client.close()
        metrics = program.page("/metrics")[1]
        process = Path(f"/proc/{program.process.pid}")
        told = metrics + process.joinpath("cmdline").read_text() + process.joinpath("environ").read_text()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.stderr
        told += program.process.stderr.read()
    assert "clear_refused" in told
    for secret in (password, blob, b64encode(password.encode()).decode()):
        assert secret not in told
