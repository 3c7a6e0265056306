"""Child processes: started with their output in a file, waited for, and stopped by their own pid."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 30.0  # before something is called hanging
LOOK_AGAIN_SECONDS = 0.02


class Hanging(Exception):
    """What was waited for never came."""


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that writes to `log`, until the end of the block. A second one may follow in the same file."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  the programs are our own and Prometheus
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], what: str) -> None:
    """Look until the condition holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise Hanging(what)
        time.sleep(LOOK_AGAIN_SECONDS)


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
