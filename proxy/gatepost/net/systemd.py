"""What passes between a service manager and gatepost: sockets that it opened, and word of how gatepost is.

All of it goes by environment variables, by descriptors from 3 on, and by datagrams, as sd_listen_fds(3), sd_notify(3)
and sd_watchdog_enabled(3) describe it. That needs no library. Where the variables are not set, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

import trio

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
MICROSECONDS = 1_000_000
INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


class Notifier:
    """Tells the service manager how gatepost is, if it wants to know.

    What cannot be delivered at once is lost: mail must not wait for it.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL that an abstract address begins with (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Opened once, so that the watchdog is heard also when descriptors have run out.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None

    def ready(self, status: str) -> None:
        """The start, or a reload, is finished."""
        self._tell("READY=1", f"STATUS={_one_line(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` must follow. `Type=notify-reload` asks for the time."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=draining")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        """The loop turns."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _tell(self, *assignments: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody is there, or the address is none
                self._socket.sendto("\n".join(assignments).encode(), self._address)


def _one_line(text: str) -> str:
    """What stands after a newline would be an assignment of its own."""
    return " ".join(text.split())


def watchdog_seconds() -> float | None:
    """How often this process must be heard of at least; None: nobody waits."""
    microseconds = _number(os.environ.get("WATCHDOG_USEC", ""))
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return microseconds / MICROSECONDS if microseconds and pid == str(os.getpid()) else None


async def keep_watched(notifier: Notifier) -> None:
    """Be heard of twice in the time allowed, from the loop itself, so that a loop that hangs is noticed."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notifier.watchdog()
        await trio.sleep(seconds / 2)


def activated() -> dict[str, list[socket.socket]]:
    """The listening sockets that were passed to this process, by their names. A second call finds none.

    Raises ValueError, which says what else was passed.
    """
    pid, passed, named = (os.environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):  # meant for a process further up
        return {}
    number = _number(passed)
    if number is None:
        raise ValueError("LISTEN_FDS is no number")
    names = named.split(":") if named else ["unknown"] * number
    if len(names) != number:
        raise ValueError(f"LISTEN_FDNAMES names {len(names)} sockets, and LISTEN_FDS says {number}")
    sockets: dict[str, list[socket.socket]] = {}
    for descriptor, name in enumerate(names, FIRST_DESCRIPTOR):
        sockets.setdefault(name, []).append(_taken(descriptor, name))
    return sockets


def _taken(descriptor: int, name: str) -> socket.socket:
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError:
        raise ValueError(f"what was passed for {name!r} is no socket") from None
    if not _listens(taken):
        raise ValueError(f"the socket passed for {name!r} does not listen for TCP connections")
    taken.set_inheritable(False)
    taken.settimeout(0)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # as `listeners.listen` sets them
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


def _listens(given: socket.socket) -> bool:
    stream = given.family in INTERNET and given.type == socket.SOCK_STREAM
    return stream and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
