"""The reference page of the phases, made from their table and what each kind of listener takes away from it.

`python -m gatepost.session.reference > docs/phases.md` brings the page up to date.
"""

from __future__ import annotations

from gatepost.policy import Policy
from gatepost.session.phases import Cell, Duty, Phase, Stage
from gatepost.session.talk import Rules, Waits
from gatepost.settings import (
    Address,
    Auth,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LoneNewlines,
    TimeoutSettings,
    UpstreamSettings,
    UpstreamTls,
)
from gatepost.wire.commands import Verb
from gatepost.wire.refusals import TABLE

_INTRODUCTION = """# Phases

<!-- Made by `python -m gatepost.session.reference` from `session/phases.py` and `policy.py`. Do not edit. -->

What becomes of each command in each phase, for each kind of listener. Read the row of AUTH: on a clear channel there is
nothing in it but refusals. A listener with `tls = "implicit"` has no clear channel, so those columns do not apply to
it. After EHLO the phase is *ready*, after MAIL *mail*, and after a BDAT that was not the last *chunks*.
"""
_KINDS = {
    Auth.REQUIRED: """Mail only after a login. Before TLS all must wait (530) but EHLO, STARTTLS, NOOP and QUIT
(RFC 3207 section 4); before the login all must wait but AUTH, EHLO, HELO, NOOP, RSET and QUIT (RFC 4954 section 6).
What never runs keeps a refusal of its own.""",
    Auth.OPTIONAL: "Mail without a login too, as on port 25; a login still only over TLS.",
    Auth.OFF: "Nobody logs in, so there are no phases after a login.",
}
_DUTIES = """## Duties

The words in italics are what gatepost does. Arguments, the extensions of the upstream and the limits are looked at
then, and may end in a refusal, too.
"""
_REPLIES = """## Replies of gatepost's own

[Each of them](replies.md), with its exact text, when it is given, and where it comes from.
"""


def render() -> str:
    """Return the whole page, in Markdown."""
    duties = "".join(f"- *{_words(duty)}*: {duty.value}\n" for duty in Duty)
    kinds = [f'## `auth = "{auth.value}"`\n\n{sentence}\n\n{_render_table(auth)}' for auth, sentence in _KINDS.items()]
    return "\n".join([_INTRODUCTION, *kinds, f"{_DUTIES}\n{duties}", _REPLIES])


def _render_table(auth: Auth) -> str:
    cells = cells_of(auth)
    phases = [phase for phase in Phase if reachable(phase, cells)]
    heads = [f"| | {' | '.join(map(_words, phases))} |", "|---" * (len(phases) + 1) + "|"]
    rows = [f"| {_name(verb)} | {' | '.join(_show(cells[verb, phase]) for phase in phases)} |" for verb in Verb]
    return "\n".join([*heads, *rows]) + "\n"


def cells_of(auth: Auth) -> dict[tuple[Verb, Phase], Cell]:
    """The table as a listener of one kind has it. Nothing else in the settings changes a cell."""
    listener = ListenerSettings(name="any", bind=(Address("127.0.0.1", 0),), tls=ListenerTls.STARTTLS, auth=auth)
    upstream = UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.NEVER)
    policy = Policy(listener, LimitSettings(), b"any")
    return Rules(policy, upstream, LoneNewlines.NORMALISE, Waits(TimeoutSettings())).cells


def reachable(phase: Phase, cells: dict[tuple[Verb, Phase], Cell]) -> bool:
    """Whether any client can come to this phase: EHLO, AUTH, MAIL and BDAT lead on where they are duties."""
    if phase.logged_in and cells[Verb.AUTH, Phase.TLS_READY] is not Duty.AUTH:
        return False
    if phase.stage in (Stage.FRESH, Stage.READY):
        return True
    return cells[Verb.MAIL, phase.at(Stage.READY)] is Duty.MAIL


def _name(verb: Verb) -> str:
    return {Verb.HTTP: "an HTTP method", Verb.UNKNOWN: "anything else"}.get(verb, verb.value)


def _words(member: Phase | Duty) -> str:
    return member.name.replace("_", " ").lower()


def _show(cell: Cell) -> str:
    return f"*{_words(cell)}*" if isinstance(cell, Duty) else f"{TABLE[cell].code} `{cell.value}`"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201  this is its purpose
