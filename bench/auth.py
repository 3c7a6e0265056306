"""What a login costs gatepost, in CPU: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import secrets
import signal
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import trustme
from scramp import ScramMechanism

HERE = Path(__file__).resolve().parent.parent / "proxy"
HOST = "gate.test"
USER, PASSWORD = "alice@example.com", "correct horse battery"
ITERATIONS = 4096
MECHANISM = ScramMechanism("SCRAM-SHA-256")
MESSAGE = "Subject: benchmark\r\n\r\n" + ("x" * 62 + "\r\n") * 64
CLIENTS = 8  # at once
SETTINGS = """\
[upstream]
address = "127.0.0.1:{upstream}"
tls = "never"
[tls]
certificate = "cert.pem"
key = "key.pem"
[[listeners]]
name = "submission"
bind = ["127.0.0.1:{port}"]
tls = "starttls"
[observe]
bind = "127.0.0.1:{observe}"
"""

# --- the server behind ------------------------------------------------------------------------------------------------


class Legacy:
    """A server that takes logins by one mechanism, the next of `infos` each time, and every other command."""

    def __init__(self, mechanism: str, infos: Iterator[Any]) -> None:
        self._mechanism = mechanism
        self._infos = infos

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 legacy.test\r\n")
            while words := (await reader.readline()).split():
                await self._answer(words, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, words: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb = words[0].upper()
        if verb == b"EHLO":
            writer.write(b"250-legacy.test\r\n250-PIPELINING\r\n250 AUTH %b\r\n" % self._mechanism.encode())
        elif verb == b"AUTH":
            if self._mechanism != "PLAIN":
                await self._scram(words[2], reader, writer)
            writer.write(b"235 2.7.0 ok\r\n")
        elif verb == b"DATA":
            writer.write(b"354 go ahead\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 2.0.0 queued\r\n")
        else:
            writer.write(b"250 2.0.0 ok\r\n")

    async def _scram(self, initial: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = MECHANISM.make_server(lambda _name: next(self._infos))
        server.set_client_first(b64decode(initial).decode())
        writer.write(b"334 " + b64encode(server.get_server_first().encode()) + b"\r\n")
        server.set_client_final(b64decode(await reader.readline()).decode())
        writer.write(b"334 " + b64encode(server.get_server_final().encode()) + b"\r\n")
        await reader.readline()


def serve_legacy(ports: dict[str, int], logins: int) -> None:
    """In a process of its own: one port for each kind of login. New salts are made beforehand."""

    def info(salt: bytes) -> object:
        return MECHANISM.make_auth_info(PASSWORD, iteration_count=ITERATIONS, salt=salt)

    async def serve() -> None:
        known = itertools.repeat(info(bytes(16)))
        fresh = iter([info(secrets.token_bytes(16)) for _ in range(logins)])
        kinds = {"plain": ("PLAIN", known), "known": ("SCRAM-SHA-256", known), "fresh": ("SCRAM-SHA-256", fresh)}
        for kind, (mechanism, infos) in kinds.items():
            await asyncio.start_server(Legacy(mechanism, infos).serve, "127.0.0.1", ports[kind], backlog=1000)
        await asyncio.Event().wait()

    asyncio.run(serve())


# --- gatepost --------------------------------------------------------------------------------------------------------


class Gatepost:
    """A process of some source tree, alone on its core."""

    def __init__(
        self, tree: Path, upstream: int, authority: trustme.CA, program: tuple[str, ...] = ("-m", "gatepost")
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gatepost-bench-"))
        issued = authority.issue_cert(HOST)
        issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))
        self.port, self.observe = free_port(), free_port()
        (folder / "gate.toml").write_text(SETTINGS.format(upstream=upstream, port=self.port, observe=self.observe))
        command = [sys.executable, *program, "run", "--config", str(folder / "gate.toml")]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                command, env={**os.environ, "PYTHONPATH": str(tree)}, stderr=log, cwd=folder
            )
        os.sched_setaffinity(self.process.pid, {min(os.sched_getaffinity(0))})
        wait_for(self.port)

    def cpu_seconds(self) -> float:
        """Of all its threads: the kernel's CPU clock of a process."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def run(self, sessions: int, trust: ssl.SSLContext) -> float:
        """CPU milliseconds for each of so many sessions."""
        began = self.cpu_seconds()
        turns = iter(range(sessions))
        lock = threading.Lock()

        def client() -> None:
            while True:
                with lock:
                    if next(turns, None) is None:
                        return
                submit(self.port, trust)

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1000 * (self.cpu_seconds() - began) / sessions

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def submit(port: int, trust: ssl.SSLContext) -> None:
    with smtplib.SMTP("127.0.0.1", port) as session:
        session._host = HOST  # noqa: SLF001  the name that the certificate must carry
        session.starttls(context=trust)
        session.ehlo()
        session.user, session.password = USER, PASSWORD
        session.auth("PLAIN", session.auth_plain)
        session.sendmail(USER, ["you@example.net"], MESSAGE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


# --- the measurement -------------------------------------------------------------------------------------------------


def derivation() -> float:
    """CPU milliseconds of one."""
    began = time.process_time()
    for number in range(100):
        pbkdf2_hmac("sha256", PASSWORD.encode(), b"%016d" % number, ITERATIONS)
    return (time.process_time() - began) * 10


@contextmanager
def server_behind(logins: int) -> Iterator[dict[str, int]]:
    ports = {kind: free_port() for kind in ("plain", "known", "fresh")}
    process = multiprocessing.get_context("spawn").Process(target=serve_legacy, args=(ports, logins), daemon=True)
    process.start()
    try:
        for port in ports.values():
            wait_for(port)
        yield ports
    finally:
        process.terminate()
        process.join()


def measure(trees: dict[str, Path], rounds: int, sessions: int) -> dict[str, list[float]]:
    """CPU milliseconds by what was measured, one value for each round; all take turns in each round."""
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with server_behind((rounds + 1) * sessions + 100) as ports:
        gates = {kind: Gatepost(HERE, port, authority) for kind, port in ports.items()}
        gates |= {f"plain, {name}": Gatepost(tree, ports["plain"], authority) for name, tree in trees.items()}
        taken: dict[str, list[float]] = {kind: [] for kind in (*gates, "derivation")}
        try:
            for gate in gates.values():
                gate.run(sessions, trust)  # warm
            for number in range(rounds):
                for kind in list(gates)[:: 1 if number % 2 else -1]:
                    taken[kind].append(gates[kind].run(sessions, trust))
                taken["derivation"].append(derivation())
        finally:
            for gate in gates.values():
                gate.stop()
    return taken


def report(taken: dict[str, list[float]]) -> Iterator[str]:
    """A Markdown table. Differences are of pairs in one round."""
    rows = dict(taken)
    rows["known - plain"] = differences(taken, "known", "plain")
    rows["fresh - plain - derivation"] = differences(taken, "fresh", "plain", "derivation")
    yield "| | CPU ms per session, median | quartiles |\n|---|---:|---|"
    for what, values in rows.items():
        low, middle, high = statistics.quantiles(values, n=4)
        yield f"| {what} | {middle:.3f} | {low:.3f} to {high:.3f} |"
    for other in [kind for kind in taken if kind.startswith("plain, ")]:
        ratios = [new / base for new, base in zip(taken["plain"], taken[other], strict=True)]
        yield f"\nplain is {statistics.median(ratios):.3f} times {other}, median of {len(ratios)} pairs"


def differences(taken: dict[str, list[float]], first: str, *others: str) -> list[float]:
    return [values[0] - sum(values[1:]) for values in zip(*(taken[kind] for kind in (first, *others)), strict=True)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--sessions", type=int, default=200)
    arguments.add_argument("--tree", action="append", default=[], metavar="NAME=PATH", help="a proxy/ of elsewhere")
    given = arguments.parse_args()
    trees = {name: Path(path).resolve() for name, _, path in (each.partition("=") for each in given.tree)}
    for line in report(measure(trees, given.rounds, given.sessions)):
        print(line)  # noqa: T201  this is its purpose


if __name__ == "__main__":
    main()
