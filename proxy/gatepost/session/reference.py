"""The reference page of phases and replies, made from their tables.

`python -m gatepost.session.reference > docs/phases.md` brings the page up to date.
"""

from __future__ import annotations

from gatepost.session.phases import CELLS, Cell, Duty, Phase
from gatepost.wire.commands import Verb
from gatepost.wire.refusals import TABLE

_INTRODUCTION = """# Phases and replies

<!-- Made by `python -m gatepost.session.reference` from `session/phases.py` and `wire/refusals.py`. Do not edit. -->

What becomes of each command in each phase, before the listener's settings take anything away. A code is a refusal of
gatepost's own; its text is below. Read the row of AUTH: on a clear channel there is nothing but refusals.

A listener with `auth = "required"` answers 530 on a clear channel to everything but NOOP, EHLO, STARTTLS and QUIT
(RFC 3207 section 4), and before a login to everything but AUTH, EHLO, HELO, NOOP, RSET and QUIT (RFC 4954 section 6).
With `auth = "off"` AUTH is answered 503.

"""


def render() -> str:
    """Return the whole page, in Markdown."""
    heads = " | ".join(phase.name.replace("_", " ").lower() for phase in Phase)
    lines = [f"| | {heads} |", "|---" * (len(Phase) + 1) + "|"]
    lines += [f"| {_name(verb)} | " + " | ".join(_words(CELLS[verb, phase]) for phase in Phase) + " |" for verb in Verb]
    duties = [f"- *{duty.name.lower().replace('_', ' ')}*: {duty.value}" for duty in Duty]
    refusals = ["| Refusal | Reply |", "|---|---|"]
    refusals += [f"| `{refusal.value}` | {text.decode()} |" for refusal, text in TABLE.items()]
    parts = (lines, duties, ["## Replies of gatepost's own", "", *refusals])
    return _INTRODUCTION + "\n\n".join("\n".join(part) for part in parts) + "\n"


def _name(verb: Verb) -> str:
    return {Verb.HTTP: "an HTTP method", Verb.UNKNOWN: "anything else"}.get(verb, verb.value)


def _words(cell: Cell) -> str:
    return f"*{cell.name.lower().replace('_', ' ')}*" if isinstance(cell, Duty) else TABLE[cell][:3].decode()


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201  this is its purpose
