"""The reference page of the refusals, made from their table.

`python -m gatepost.wire.reference > docs/replies.md` brings the page up to date.
"""

from __future__ import annotations

from gatepost.facts import Refusal
from gatepost.wire.refusals import SECTIONS, Answer

_INTRODUCTION = """# Replies of gatepost's own

<!-- Made by `python -m gatepost.wire.reference` from `wire/refusals.py`. Do not edit. -->

Every reply by which gatepost itself refuses something, octet for octet. All other refusals come from the server behind,
and are passed on as they are. The first column is the name in the log (`gatepost.refusal`). After a 421 gatepost closes
the connection; where it closes after another code, that is said. [Phases](phases.md) has the refusals by command.
"""


def render() -> str:
    """Return the whole page, in Markdown."""
    return _INTRODUCTION + "".join(f"\n{_render_section(title, answers)}" for title, answers in SECTIONS.items())


def _render_section(title: str, answers: dict[Refusal, Answer]) -> str:
    rows = [
        f"| `{refusal.value}` | `{answer.text.decode()}` | {answer.when} | {answer.basis} |"
        for refusal, answer in answers.items()
    ]
    return "\n".join([f"## {title}", "", "| Refusal | Reply | When | Basis |", "|---|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201  this is its purpose
