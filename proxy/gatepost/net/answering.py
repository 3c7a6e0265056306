"""What the shell asks of whoever answers the core's questions; `backends/desk.py` does, and tests do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gatepost.sasl.questions import Question, Unavailable

Answerer = Callable[[Question[Any]], Awaitable[object]]  # what the question asks for, or Unavailable


async def nobody(_question: Question[Any]) -> object:
    """For a machine that has nothing to ask."""
    return Unavailable()
