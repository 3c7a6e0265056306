"""The table is total, no cell of it lets a password cross a clear channel, and EHLO offers what it takes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dialogue import Dialogue
from gatepost.facts import Channel, Leg, Peer, Refusal, Tls
from gatepost.policy import Standing, Upstream
from gatepost.session.machine import Machine, converse
from gatepost.session.phases import CELLS, TABLE, Duty, Phase, Stage
from gatepost.session.reference import cells_of, reachable, render
from gatepost.session.talk import Rules, Talk
from gatepost.session.vocabulary import Action, Open, Secure, Send
from gatepost.settings import Address, Auth, ListenerTls, UpstreamSettings, UpstreamTls
from gatepost.wire.capabilities import read
from gatepost.wire.commands import Verb
from gatepost.wire.replies import encode

CLEAR = [phase for phase in Phase if phase.channel is Channel.CLEAR]


def rules(auth: Auth, tls: ListenerTls = ListenerTls.STARTTLS) -> Rules:
    return Dialogue("phases", {"auth": auth.value, "tls": tls.value}, ()).rules()


def test_every_verb_has_a_cell_in_every_phase() -> None:
    assert set(TABLE) == set(Verb)
    assert set(CELLS) == {(verb, phase) for verb in Verb for phase in Phase}
    assert all(isinstance(cell, Duty | Refusal) for cell in CELLS.values())


def test_no_phase_with_a_clear_channel_authenticates() -> None:
    for phase in CLEAR:
        assert isinstance(CELLS[Verb.AUTH, phase], Refusal)


@pytest.mark.parametrize("auth", Auth)
def test_no_policy_adds_to_the_table(auth: Auth) -> None:
    for place, cell in rules(auth).cells.items():
        assert cell == CELLS[place] or isinstance(cell, Refusal)


@pytest.mark.parametrize("auth", Auth)
def test_authentication_runs_only_over_tls_after_hello_and_once(auth: Auth) -> None:
    allowed = {phase for (verb, phase), cell in rules(auth).cells.items() if verb is Verb.AUTH and cell is Duty.AUTH}
    assert allowed == (set() if auth is Auth.OFF else {Phase.TLS_READY})


def test_mail_on_a_submission_listener_needs_a_login() -> None:
    relayed = {Duty.MAIL, Duty.RCPT, Duty.DATA, Duty.BDAT, Duty.RELAY}
    for (_, phase), cell in rules(Auth.REQUIRED).cells.items():
        assert cell not in relayed or phase.logged_in


def test_who_poses_as_another_is_refused_everywhere() -> None:
    for phase in Phase:
        for verb in (Verb.XCLIENT, Verb.XFORWARD, Verb.BURL, Verb.TURN, Verb.UNKNOWN):
            assert isinstance(CELLS[verb, phase], Refusal)


def test_stages_move_within_channel_and_login() -> None:
    assert Phase.CLEAR_FRESH.at(Stage.READY) is Phase.CLEAR_READY
    assert Phase.LOGGED_IN_CHUNKS.at(Stage.READY) is Phase.LOGGED_IN_READY
    with pytest.raises(KeyError):
        Phase.LOGGED_IN_READY.at(Stage.FRESH)


# --- offered equals accepted -----------------------------------------------------------------------------------------

# Each extension, and commands of which the last needs it; whoever takes that should have offered it.
NEEDS = {
    b"SIZE": [b"MAIL FROM:<a@b> SIZE=1"],
    b"8BITMIME": [b"MAIL FROM:<a@b> BODY=8BITMIME"],
    b"BINARYMIME": [b"MAIL FROM:<a@b> BODY=BINARYMIME"],
    b"SMTPUTF8": ["MAIL FROM:<ü@b> SMTPUTF8".encode()],
    b"DSN": [b"MAIL FROM:<a@b>", b"RCPT TO:<a@b> NOTIFY=NEVER"],
    b"DELIVERBY": [b"MAIL FROM:<a@b> BY=120;R"],
    b"MT-PRIORITY": [b"MAIL FROM:<a@b> MT-PRIORITY=3"],
    b"FUTURERELEASE": [b"MAIL FROM:<a@b> HOLDFOR=60"],
    b"REQUIRETLS": [b"MAIL FROM:<a@b> REQUIRETLS"],
    b"NO-SOLICITING": [b"MAIL FROM:<a@b> SOLICIT=org.example:ADV"],
    b"CHUNKING": [b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"BDAT 0"],
    b"ETRN": [b"ETRN example.org"],
    b"X-OWN": [b"MAIL FROM:<a@b> X-OWN=1"],
    b"XCLIENT": [b"XCLIENT NAME=x"],
    b"BURL": [b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"BURL imap://x LAST"],
}
UPSTREAMS = {
    "rich": (*NEEDS, b"AUTH PLAIN LOGIN", b"STARTTLS", b"PIPELINING"),
    "plain and one at a time": (b"SIZE 1000", b"AUTH PLAIN"),
    "old form of AUTH": (b"AUTH=LOGIN", b"8BITMIME", b"CHUNKING"),
    "no way to log in": (b"AUTH GSSAPI", b"DSN", b"ETRN"),
    "nothing": (),
}


class Visit:
    """A client, the machine, and an upstream that says yes to everything. TLS begins without a handshake."""

    def __init__(self, own: Rules, capabilities: tuple[bytes, ...]) -> None:
        self.capabilities = (b"legacy", *capabilities)
        guarded = own.upstream.tls is UpstreamTls.IMPLICIT
        self.machine = Machine(
            Talk(own, Upstream(read(self.capabilities), encrypted=guarded, guarded=True), relays=False), converse
        )
        self.replies = b""
        self.answers = b""
        self.asked = 0  # responses that AUTH LOGIN still waits for
        self.perform(self.machine.start())

    def say(self, line: bytes) -> bytes:
        """The reply to a line."""
        self.replies = b""
        self.perform(self.machine.received(Leg.CLIENT, line + b"\r\n"))
        while self.answers and self.machine.awaits is Leg.UPSTREAM:
            answers, self.answers = self.answers, b""
            self.perform(self.machine.received(Leg.UPSTREAM, answers))
        return self.replies

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Secure):
                self.perform(self.machine.secured(action.leg, Tls("TLSv1.3", "X", verified=True)))
            elif isinstance(action, Open):
                self.answers += b"220 legacy\r\n"
                self.perform(self.machine.opened(Peer("127.0.0.1", 25, loopback=True)))
            elif isinstance(action, Send) and action.leg is Leg.CLIENT:
                self.replies += action.data
            elif isinstance(action, Send):
                self.answers += b"".join(map(self.answer, action.data.splitlines()))

    def answer(self, line: bytes) -> bytes:
        word = line.split()[0] if line else b""
        if line == b"AUTH LOGIN" or self.asked > 1:
            self.asked = self.asked - 1 if self.asked else 2
            return b"334 VXNlcm5hbWU6\r\n"
        if self.asked:
            self.asked, word = 0, b"AUTH"
        codes = {b"EHLO": 250, b"AUTH": 235, b"QUIT": 221, b"x": None}
        texts = self.capabilities if word == b"EHLO" else (b"2.0.0 yes",)
        code = codes.get(word, 250)
        return encode(code, *texts) if code else b""  # "x" is the chunk

    def go_to(self, phase: Phase) -> None:
        if phase.channel is Channel.TLS and self.machine.talk.phase.channel is Channel.CLEAR:
            self.say(b"EHLO me")
            assert self.say(b"STARTTLS").startswith(b"220")
        if phase.stage is not Stage.FRESH:
            self.say(b"EHLO me")
        if phase.logged_in:
            assert self.say(b"AUTH PLAIN AGEAYg==").startswith(b"235")
        if phase.stage in (Stage.MAIL, Stage.CHUNKS):
            assert self.say(b"MAIL FROM:<a@b>").startswith(b"250")
        if phase.stage is Stage.CHUNKS:
            assert self.say(b"BDAT 1\r\nx").startswith(b"250")
        assert self.machine.talk.phase is phase

    def hello(self) -> dict[bytes, bytes]:
        """What the EHLO reply offers."""
        return read(tuple(line[4:] for line in self.say(b"EHLO me").splitlines())).keywords


def visits(
    auth: Auth, tls: ListenerTls, capabilities: tuple[bytes, ...]
) -> Iterator[tuple[Phase, Callable[[], Visit]]]:
    """Every phase that a client can come to, and how to be there anew."""
    own = rules(auth, tls)
    own.upstream = UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.IMPLICIT)
    behind = Upstream(read((b"x", *capabilities)), encrypted=True, guarded=True)
    can_log_in = bool(own.policy.mechanisms(behind, Standing()))
    for phase in Phase:
        if phase.channel is Channel.CLEAR and tls is ListenerTls.IMPLICIT:
            continue
        if phase.logged_in and not can_log_in:
            continue
        if phase.stage is Stage.CHUNKS and b"CHUNKING" not in capabilities:
            continue
        if not reachable(phase, own.cells):
            continue

        def arrive(phase: Phase = phase) -> Visit:
            visit = Visit(own, capabilities)
            visit.go_to(phase)
            return visit

        yield phase, arrive


everywhere = pytest.mark.parametrize(
    ("auth", "tls", "upstream"), [(a, t, u) for a in Auth for t in ListenerTls for u in UPSTREAMS]
)


@everywhere
def test_an_extension_is_offered_exactly_where_it_is_taken(auth: Auth, tls: ListenerTls, upstream: str) -> None:
    for phase, arrive in visits(auth, tls, UPSTREAMS[upstream]):
        for extension, lines in NEEDS.items():
            visit = arrive()
            offered = extension in visit.hello()
            may_send = visit.machine.talk.cell(Verb.MAIL) is Duty.MAIL
            taken = [visit.say(line)[:1] == b"2" for line in lines][-1]
            assert taken is (offered and may_send), (phase, extension)


@everywhere
def test_tls_and_logins_are_offered_exactly_where_they_begin(auth: Auth, tls: ListenerTls, upstream: str) -> None:
    for phase, arrive in visits(auth, tls, UPSTREAMS[upstream]):
        visit = arrive()
        offer = visit.hello()
        mechanisms = offer.get(b"AUTH", b"").split()
        assert phase.channel is Channel.TLS or not mechanisms
        assert (visit.say(b"STARTTLS")[:3] == b"220") is (b"STARTTLS" in offer), phase
        for mechanism in (b"PLAIN", b"LOGIN", b"CRAM-MD5", b"GSSAPI"):
            visit = arrive()
            visit.hello()
            assert (visit.say(b"AUTH " + mechanism)[:3] == b"334") is (mechanism in mechanisms), (phase, mechanism)


@everywhere
def test_the_sender_of_a_login_is_taken_where_logins_are(auth: Auth, tls: ListenerTls, upstream: str) -> None:
    """AUTH= of MAIL (RFC 4954 section 5) says who has sent a message. After a login AUTH is not offered again."""
    for phase, arrive in visits(auth, tls, UPSTREAMS[upstream]):
        visit = arrive()
        offered = b"AUTH" in visit.hello() or phase.logged_in
        may_send = visit.machine.talk.cell(Verb.MAIL) is Duty.MAIL
        assert (visit.say(b"MAIL FROM:<a@b> AUTH=a@b")[:1] == b"2") is (offered and may_send), phase


def test_each_kind_of_listener_has_its_phases() -> None:
    counts = {auth: sum(reachable(phase, cells_of(auth)) for phase in Phase) for auth in Auth}
    assert counts == {Auth.REQUIRED: 7, Auth.OPTIONAL: 11, Auth.OFF: 8}


@pytest.mark.parametrize("auth", Auth)
def test_the_page_shows_what_a_listener_does(auth: Auth) -> None:
    assert cells_of(auth) == rules(auth).cells == rules(auth, ListenerTls.IMPLICIT).cells


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "phases.md"
    assert page.read_text() == render(), "python -m gatepost.session.reference > docs/phases.md"
