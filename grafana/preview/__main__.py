"""`python grafana/preview`: plays the night, and draws every dashboard into docs/pictures.

It needs Prometheus and Chromium (Debian's packages prometheus and chromium), and what gatepost's tests need.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from boards import ALERTS, PICTURES, boards, draw_board
from night import night

EX_UNAVAILABLE = 69


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a night of traffic, and draw the dashboards from it.")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="the folder for the pictures")
    pictures = parser.parse_args().pictures
    programs = {name: shutil.which(name) for name in ("prometheus", "chromium")}
    if missing := [name for name, path in programs.items() if path is None]:
        sys.stderr.write(f"missing, as Debian packages of these names: {' '.join(missing)}\n")
        return EX_UNAVAILABLE
    with (
        TemporaryDirectory(prefix="gatepost-night-") as folder,
        night(str(programs["prometheus"]), Path(folder), ALERTS) as played,
    ):
        for board in boards():
            sys.stdout.write(f"{draw_board(board, played, str(programs['chromium']), pictures)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
