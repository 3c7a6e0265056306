"""A service manager and gatepost: word of how it is, and sockets that outlive it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

import pytest

import peers
from e2e.gateway import MODULE, Gatepost, running
from e2e.spoken import PATIENCE_SECONDS
from gatehouse import certificates, free_port
from settings_folder import MINIMAL, fill

ACTIVATING = str(Path(__file__).with_name("activating.py"))
WATCHDOG_SECONDS = 0.4
Passed = Sequence[tuple[str, socket.socket]]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE_SECONDS)
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_SECONDS * 1_000_000)))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listening


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """As a service manager opens it, for all of the program's lives."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as opened:
        yield opened


def gatepost(folder: Path, passed: Passed = ()) -> AbstractContextManager[Gatepost]:
    certificates(folder)
    upstream = {"address": f"127.0.0.1:{free_port()}", "tls": "never", "probe_seconds": 3600}
    program = (*activating(passed), *MODULE) if passed else MODULE
    return running(folder, upstream, program, descriptors=[given.fileno() for _, given in passed])


def activating(passed: Passed) -> list[str]:
    return [ACTIVATING, *(f"{name}={given.fileno()}" for name, given in passed), "--"]


def refusal(folder: Path, settings: str, passed: Passed) -> str:
    """What it says when it does not start."""
    fill(folder)
    file = folder / "gatepost.toml"
    file.write_text(settings)
    command = [sys.executable, *activating(passed), *MODULE, "run", "--config", str(file)]
    descriptors = {given.fileno() for _, given in passed}
    result = subprocess.run(
        command, check=False, stderr=subprocess.PIPE, text=True, pass_fds=descriptors, timeout=PATIENCE_SECONDS
    )
    assert result.returncode == 69
    return result.stderr.splitlines()[-1]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)


def first_line(client: socket.socket) -> bytes:
    with client.makefile("rb") as stream:
        return stream.readline()


def port_of(opened: socket.socket) -> int:
    port: int = opened.getsockname()[1]
    return port


def test_it_tells_of_its_whole_life(tmp_path: Path, manager: socket.socket) -> None:
    with gatepost(tmp_path) as gate:
        addresses = ", ".join(f"{name} 127.0.0.1:{port}" for name, port in gate.ports.items())
        assert manager.recv(1000).decode() == f"READY=1\nSTATUS=serving {addresses}"
        assert [manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        gate.process.send_signal(signal.SIGTERM)
        told = [manager.recv(1000)]
        while told[-1] == b"WATCHDOG=1":
            told.append(manager.recv(1000))
        assert told[-1] == b"STOPPING=1\nSTATUS=draining"
        assert gate.wait() == 0
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)


def test_it_is_not_ready_before_it_can_start(tmp_path: Path, manager: socket.socket) -> None:
    fill(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        file = tmp_path / "gatepost.toml"
        file.write_text(MINIMAL.replace(":5587", f":{port_of(taken)}"))
        result = subprocess.run(
            [sys.executable, *MODULE, "run", "--config", str(file)], check=False, capture_output=True
        )
    assert result.returncode == 69
    manager.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)


def test_clients_that_come_while_it_is_down_are_served_by_the_next(tmp_path: Path, listening: socket.socket) -> None:
    passed, port = [("submission", listening)], port_of(listening)
    with ExitStack() as stack:
        with gatepost(tmp_path, passed) as gate:
            assert gate.ports["submission"] == port
            before = stack.enter_context(connect(port))
            assert first_line(before).startswith(b"220 ")
            assert gate.stop() == 0
            assert first_line(before).startswith(b"421 4.3.2 ")
        waiting = [stack.enter_context(connect(port)) for _ in range(5)]
        with gatepost(tmp_path, passed):
            assert all(first_line(client).startswith(b"220 ") for client in waiting)


def test_no_client_is_lost_while_it_is_started_again_and_again(tmp_path: Path, listening: socket.socket) -> None:
    answers: list[bytes] = []
    enough, started = threading.Event(), threading.Semaphore(0)

    def come_and_go() -> None:
        while not enough.is_set():
            with connect(port_of(listening)) as client:
                answers.append(first_line(client)[:4])
                started.release()

    crowd = [threading.Thread(target=come_and_go) for _ in range(4)]
    for one in crowd:
        one.start()
    try:
        for _ in range(3):
            with gatepost(tmp_path, [("submission", listening)]) as gate:
                for _ in range(50):
                    assert started.acquire(timeout=PATIENCE_SECONDS)
                assert gate.stop() == 0
        enough.set()
        with gatepost(tmp_path, [("submission", listening)]):  # for those who still wait
            for one in crowd:
                one.join(PATIENCE_SECONDS)
    finally:
        enough.set()
    assert not any(one.is_alive() for one in crowd)
    assert len(answers) >= 150
    assert set(answers) <= {b"220 ", b"421 "}


def test_a_listener_takes_all_sockets_of_its_name_and_the_others_are_bound(tmp_path: Path) -> None:
    with ExitStack() as stack:
        four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        six = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        endpoint = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        sockets = [("submission", four), ("submission", six), ("observe", endpoint)]
        gate = stack.enter_context(gatepost(tmp_path, sockets))
        for address in (four.getsockname(), six.getsockname()[:2]):
            client = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_SECONDS))
            assert first_line(client).startswith(b"220 ")
        assert first_line(stack.enter_context(connect(gate.ports["mx"]))).startswith(b"220 ")
        with closing(http.client.HTTPConnection("127.0.0.1", port_of(endpoint), timeout=PATIENCE_SECONDS)) as http_:
            http_.request("GET", "/livez")
            assert http_.getresponse().status == 200
        with pytest.raises(ConnectionRefusedError):  # where [observe] says
            connect(gate.observe)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["smtp", "submission"],
            "sockets were passed for smtp; those that can take one: submission, submissions, observe",
        ),
        (["observe", "observe"], "several sockets were passed for observe, which takes one"),
    ],
)
def test_sockets_that_have_no_place_keep_it_from_starting(
    names: list[str], complaint: str, tmp_path: Path, listening: socket.socket
) -> None:
    assert refusal(tmp_path, MINIMAL, [(name, listening) for name in names]) == f"gatepost: {complaint}"


def test_a_socket_that_two_could_mean_keeps_it_from_starting(tmp_path: Path, listening: socket.socket) -> None:
    text = MINIMAL.replace('name = "submissions"', 'name = "observe"')
    assert refusal(tmp_path, text, [("observe", listening)]) == (
        "gatepost: a socket was passed for observe, and a listener has that name too"
    )


def test_systemds_own_activator_starts_it_for_the_first_client(tmp_path: Path) -> None:
    activator = peers.require("systemd-socket-activate", package="systemd")
    fill(tmp_path)
    file, port = tmp_path / "gatepost.toml", free_port()
    file.write_text(MINIMAL.replace(":5587", ":0").replace(":5465", ":0").replace(":9587", ":0"))
    command = [activator, f"--listen=127.0.0.1:{port}", "--fdname=submission"]
    command += [f"--setenv={name}" for name in ("PYTHONPATH",) if name in os.environ]
    command += [sys.executable, *MODULE, "run", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            assert any("Listening on" in line for line in process.stderr)
            with connect(port) as client:
                assert first_line(client).startswith(b"220 ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
