"""THE table: which verb may run in which phase.

A phase says how far the client has come: what protects its channel, whether it has logged in, and where it stands in a
mail transaction. The table is total: every verb has a cell in every phase, and a cell is either a duty (what to do) or
a refusal (what to answer). Read the row of AUTH: on a clear channel there is no duty in it, whatever the settings, so
no password can cross a clear channel and reach anything. The policy of a listener can only take away from this table.

`docs/phases.md` is generated from here, and so is what EHLO offers: STARTTLS and AUTH appear in it exactly where their
cell is a duty.
"""

from __future__ import annotations

from gatepost.facts import Channel, Label, Refusal
from gatepost.wire.commands import Verb


class Stage(Label):
    """Where a client stands on its channel."""

    FRESH = "fresh"  # no EHLO yet
    READY = "ready"  # after EHLO, between transactions
    MAIL = "mail"  # inside a transaction: after MAIL
    CHUNKS = "chunks"  # inside a message: after a BDAT that was not the last


class Phase(Label):
    """Channel, login and stage. There is no logging in before EHLO, so LOGGED_IN has no FRESH."""

    CLEAR_FRESH = (Channel.CLEAR, False, Stage.FRESH)
    CLEAR_READY = (Channel.CLEAR, False, Stage.READY)
    CLEAR_MAIL = (Channel.CLEAR, False, Stage.MAIL)
    CLEAR_CHUNKS = (Channel.CLEAR, False, Stage.CHUNKS)
    TLS_FRESH = (Channel.TLS, False, Stage.FRESH)
    TLS_READY = (Channel.TLS, False, Stage.READY)
    TLS_MAIL = (Channel.TLS, False, Stage.MAIL)
    TLS_CHUNKS = (Channel.TLS, False, Stage.CHUNKS)
    LOGGED_IN_READY = (Channel.TLS, True, Stage.READY)
    LOGGED_IN_MAIL = (Channel.TLS, True, Stage.MAIL)
    LOGGED_IN_CHUNKS = (Channel.TLS, True, Stage.CHUNKS)

    def __init__(self, channel: Channel, logged_in: bool, stage: Stage) -> None:  # noqa: FBT001  enum members are tuples
        self.channel = channel
        self.logged_in = logged_in
        self.stage = stage

    def at(self, stage: Stage) -> Phase:
        """The phase of the same channel and login at another stage."""
        return _AT[self, stage]


_AT = {(phase, other.stage): other for phase in Phase for other in Phase if phase.value[:2] == other.value[:2]}


class Duty(Label):
    """What to do about a verb that may run."""

    HELLO = "answer with the capabilities"
    STARTTLS = "start TLS"
    AUTH = "authenticate"
    MAIL = "check and relay MAIL"
    RCPT = "check and relay RCPT"
    DATA = "relay DATA and the message"
    BDAT = "relay a chunk of the message"
    RESET = "relay RSET, or answer it before the upstream is open"
    NOOP = "relay NOOP, or answer it before the upstream is open"
    RELAY = "relay"
    QUIT = "say goodbye on both legs"
    HANG_UP = "close: this is no mail client"


Cell = Duty | Refusal

V, D, R = Verb, Duty, Refusal  # short, so that the table below is one


def _everywhere(cell: Cell) -> tuple[Cell, ...]:
    return (cell,) * len(Phase)


_HELO = R.HELLO_FIRST
_CLEAR = R.AUTH_NEEDS_TLS
_TLS = R.TLS_ACTIVE
_MAIL = R.IN_TRANSACTION
_LATE = R.AUTH_IN_TRANSACTION
_TWICE = R.AUTH_TWICE
_CHUNK = R.CHUNKS_UNDER_WAY
_NONE = R.NO_TRANSACTION

# fmt: off
#             --- clear -------------------------- --- TLS ---------------------------- --- logged in -----------
#             fresh   ready       mail    chunks   fresh  ready    mail     chunks   ready    mail     chunks
TABLE: dict[Verb, tuple[Cell, ...]] = {
    V.EHLO:     _everywhere(D.HELLO),
    V.HELO:     _everywhere(D.HELLO),
    V.STARTTLS: (_HELO,  D.STARTTLS, _MAIL,   _MAIL,   _TLS,  _TLS,    _TLS,    _TLS,    _TLS,    _TLS,    _TLS),
    V.AUTH:     (_CLEAR, _CLEAR,     _CLEAR,  _CLEAR,  _HELO, D.AUTH,  _LATE,   _LATE,   _TWICE,  _TWICE,  _TWICE),
    V.MAIL:     (_HELO,  D.MAIL,     _MAIL,   _CHUNK,  _HELO, D.MAIL,  _MAIL,   _CHUNK,  D.MAIL,  _MAIL,   _CHUNK),
    V.RCPT:     (_HELO,  _NONE,      D.RCPT,  _CHUNK,  _HELO, _NONE,   D.RCPT,  _CHUNK,  _NONE,   D.RCPT,  _CHUNK),
    V.DATA:     (_HELO,  _NONE,      D.DATA,  _CHUNK,  _HELO, _NONE,   D.DATA,  _CHUNK,  _NONE,   D.DATA,  _CHUNK),
    V.BDAT:     (_HELO,  _NONE,      D.BDAT,  D.BDAT,  _HELO, _NONE,   D.BDAT,  D.BDAT,  _NONE,   D.BDAT,  D.BDAT),
    V.RSET:     _everywhere(D.RESET),
    V.NOOP:     _everywhere(D.NOOP),
    V.QUIT:     _everywhere(D.QUIT),
    V.VRFY:     (_HELO,  D.RELAY,    D.RELAY, _CHUNK,  _HELO, D.RELAY, D.RELAY, _CHUNK,  D.RELAY, D.RELAY, _CHUNK),
    V.EXPN:     (_HELO,  D.RELAY,    D.RELAY, _CHUNK,  _HELO, D.RELAY, D.RELAY, _CHUNK,  D.RELAY, D.RELAY, _CHUNK),
    V.HELP:     (_HELO,  D.RELAY,    D.RELAY, _CHUNK,  _HELO, D.RELAY, D.RELAY, _CHUNK,  D.RELAY, D.RELAY, _CHUNK),
    V.ETRN:     (_HELO,  D.RELAY,    _MAIL,   _MAIL,   _HELO, D.RELAY, _MAIL,   _MAIL,   D.RELAY, _MAIL,   _MAIL),
    V.XCLIENT:  _everywhere(R.IDENTITY_COMMAND),
    V.XFORWARD: _everywhere(R.IDENTITY_COMMAND),
    V.BURL:     _everywhere(R.NOT_IMPLEMENTED),
    V.TURN:     _everywhere(R.NOT_IMPLEMENTED),
    V.HTTP:     _everywhere(D.HANG_UP),
    V.UNKNOWN:  _everywhere(R.UNKNOWN_COMMAND),
}
# fmt: on

CELLS: dict[tuple[Verb, Phase], Cell] = {
    (verb, phase): cell for verb, cells in TABLE.items() for phase, cell in zip(Phase, cells, strict=True)
}
