"""Becomes another program, with sockets and variables as a service manager passes them; run as a script.

activating.py [NAME=DESCRIPTOR ...] -- PYTHON ARGUMENTS ...
"""

from __future__ import annotations

import fcntl
import os
import sys

FIRST = 3
OUT_OF_THE_WAY = 100

if __name__ == "__main__":
    split = sys.argv.index("--")
    passed = [argument.rpartition("=") for argument in sys.argv[1:split]]
    sources = [fcntl.fcntl(int(descriptor), fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) for _, _, descriptor in passed]
    for target, source in enumerate(sources, FIRST):
        os.dup2(source, target)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sources))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _, _ in passed)
    os.execv(sys.executable, [sys.executable, *sys.argv[split + 1 :]])  # noqa: S606  as a service manager does
