"""The dashboards and rules of this tree, and a picture of each board after a night."""

from __future__ import annotations

from pathlib import Path

from dashboard import Board, Reader, read
from drawing import page
from night import Night
from picture import draw

GRAFANA = Path(__file__).resolve().parent.parent
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
ALERTS = sorted((GRAFANA / "alerts").glob("*.yaml"))
PICTURES = GRAFANA.parent / "docs" / "pictures"


def boards() -> list[Board]:
    return [read(file) for file in DASHBOARDS]


def html(board: Board, night: Night) -> str:
    caption = f"A made-up night, played in {night.ended - night.began:.0f} seconds"
    return page(board, Reader(night.prometheus, board, night.span), night.span, caption)


def draw_board(board: Board, night: Night, chromium: str, folder: Path) -> Path:
    """The picture's path, in the folder."""
    picture = folder / f"dashboard-{board.uid.removeprefix('gatepost-')}.png"
    draw(chromium, html(board, night), picture)
    return picture
