"""Dialogues: scripts that anyone can read aloud, played against the machine.

    ## The title of a dialogue
    ! auth=optional snapshot=none        settings, where they are not the usual ones
    C> EHLO me                           the client sends a line
    C< 250-mx.example                    the client must get this line; "..." at its end leaves the rest open
    U> 220 hi                            the upstream sends a line
    U< EHLO me                           the upstream must get this line
    A< CheckPassword alice               the machine must ask a question with these words in it
    A> yes                               its answer: yes, no, nothing, unavailable, nonce, holder USER SECONDS,
                                         secret TEXT, upstream USER SECRET ("-" for the same user),
                                         verifier (which no password fits, while passwords are learned)
    = clear_refused                      a fact (or the summary) with these words in it was recorded
    != accepted                          and none with these

In angle brackets stands what is no line: `C> <tls>`, `<gone>`, `<late>`, `<drain>`, `<expired>`, `<handshake failed>`;
`U> <open>`, `<tls>`, `<gone>`, `<unreachable>`, `<late>`; and what the machine must do: `C< <tls>`, `<close>`; `U<
<open>`, `<tls>`, `<close>`, `<drop>`. A backslash escapes octets as in Python, and a `\\c` at the end of a line leaves
out its CRLF.
{plain}, {user} and {password} are the credentials in base64, {a*100} is a hundred times "a".

Lines that stand together go out together. Whatever was sent to either leg must be expected before anything else is
said, and at the end nothing may be left.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.facts import Fact, HandshakeFailure, Leg, Mechanism, Peer, Tls, UpstreamFailure
from gatepost.policy import Policy, Upstream
from gatepost.sasl.exchange import Password
from gatepost.sasl.plan import Means, Naming
from gatepost.sasl.questions import Holder, Question, Unavailable, UpstreamLogin, Verifier
from gatepost.sasl.secret import Secret
from gatepost.session.machine import Machine, converse
from gatepost.session.talk import Rules, Talk, Waits
from gatepost.session.vocabulary import Action, Close, Drop, Expire, Open, Record, Secure, Send
from gatepost.settings import (
    Address,
    Auth,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LoneNewlines,
    PolicySettings,
    Represent,
    TimeoutSettings,
    UpstreamSettings,
    UpstreamTls,
)
from gatepost.settings.ways import Ways
from gatepost.wire.capabilities import read

USER = "alice@example.com"
PASSWORD = "tanzende Bären 7391"
FOLDER = Path(__file__).parent / "session" / "dialogues"
MARKS = {"{plain}": f"\0{USER}\0{PASSWORD}", "{user}": USER, "{password}": PASSWORD}
USUAL = {
    "auth": "required",
    "tls": "starttls",
    "snapshot": "PIPELINING|SIZE 1000000|8BITMIME|CHUNKING|ENHANCEDSTATUSCODES|AUTH PLAIN LOGIN",
    "upstream_tls": "never",
    "trusted": "no",
    "loopback": "yes",
    "lone_newlines": "normalise",
    "verified": "yes",
    "certificate": "",  # the login in the client's
    "mechanisms": "",  # of the listener, separated by spaces
    "represent": "",
    "relay": "",
    "verify": "",  # passwords, tokens
    "minimum": "",  # of a policy
    "minimum_for": "",  # users of it
    "template": "{login}",
    "ends_with_token": "yes",
    "relays": "no",  # the upstream, for strangers: yes, no, unknown
    "local_domains": "",
    "together": "no",  # it matters that what stands together arrives together
}


@dataclass(frozen=True)
class Dialogue:
    title: str
    options: dict[str, str]
    steps: tuple[tuple[str, bytes], ...]  # who and which way, and what: "C>", b"EHLO me\r\n"

    def rules(self) -> Rules:
        option = USUAL | self.options
        limits = {name: int(value) for name, value in option.items() if name in LimitSettings.model_fields}
        listener = ListenerSettings(
            name="submission",
            bind=(Address("127.0.0.1", 0),),
            tls=ListenerTls(option["tls"]),
            auth=Auth(option["auth"]),
            mechanisms=named(option["mechanisms"]) or None,
        )
        upstream = UpstreamSettings(
            address=Address("192.0.2.1", 25),
            tls=UpstreamTls(option["upstream_tls"]),
            trusted=option["trusted"] == "yes",
        )
        policies: tuple[PolicySettings, ...] = ()
        if option["minimum"]:
            (minimum,) = named(option["minimum"])
            policies = (PolicySettings(minimum=minimum, users=tuple(option["minimum_for"].split())),)
        limit = LimitSettings.model_validate(limits)
        local_domains = frozenset(option["local_domains"].split())
        policy = Policy(listener, limit, b"mx.example", self.means(), policies, local_domains)
        return Rules(policy, upstream, LoneNewlines(option["lone_newlines"]), Waits(TimeoutSettings()))

    def talk(self) -> Talk:
        relays = {"yes": True, "no": False, "unknown": None}[(USUAL | self.options)["relays"]]
        return Talk(self.rules(), self.snapshot(), relays=relays)

    def means(self) -> Means:
        option = USUAL | self.options
        represent = Represent(option["represent"]) if option["represent"] else None
        return Means(
            Ways(
                relay=named(option["relay"]),
                represent=represent,
                users=represent is not None,
                verify_passwords="passwords" in option["verify"],
                tokens="tokens" in option["verify"],
                client_ca=bool(option["certificate"]),
            ),
            service=Password("service", "", Secret(b"service password")) if represent is Represent.SERVICE else None,
            naming=Naming(option["template"]),
            scope="mail",
            ends_with_token=option["ends_with_token"] == "yes",
        )

    def snapshot(self) -> Upstream | None:
        option = USUAL | self.options
        if option["snapshot"] == "none":
            return None
        return Upstream(
            read((b"legacy", *(line.encode() for line in option["snapshot"].split("|")))),
            encrypted=option["upstream_tls"] in ("starttls", "implicit"),
            guarded=option["loopback"] == "yes" or option["trusted"] == "yes" or option["upstream_tls"] != "never",
        )


def named(names: str) -> tuple[Mechanism, ...]:
    return tuple(Mechanism(name) for name in names.split())


def load() -> Iterator[Dialogue]:
    for file in sorted(FOLDER.glob("*.smtp")):
        for text in re.split(r"^## ", file.read_text(), flags=re.MULTILINE)[1:]:
            yield _parse(file.stem, text)


def _parse(file: str, text: str) -> Dialogue:
    title, *lines = text.strip().splitlines()
    options: dict[str, str] = {}
    steps = []
    for line in lines:
        if line.startswith("! "):
            options |= dict(re.findall(r'(\w+)="?([^"\n]*?)"?(?= \w+=|$)', line[2:]))
        elif line.strip() and not line.startswith("#"):
            way, _, what = line.partition(" ")
            assert way in {"C>", "C<", "U>", "U<", "A>", "A<", "=", "!="}, f"{file}: {title}: {line}"
            steps.append((way, _octets(what)))
    return Dialogue(f"{file}: {title}", options, tuple(steps))


def _octets(what: str) -> bytes:
    for mark, value in MARKS.items():
        what = what.replace(mark, b64encode(value.encode()).decode())
    what = re.sub(r"\{(.)\*(\d+)\}", lambda found: found[1] * int(found[2]), what)
    if what.startswith("<") and what.endswith(">") and "@" not in what:
        return what.encode()
    ending = "\\r\\n"
    if what.endswith("\\c"):
        what, ending = what[:-2], ""
    return (what + ending).encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


def answer(words: str) -> object:
    """What `A>` says, as a value."""
    kind, *values = words.split()
    plain = {"yes": True, "no": False, "nothing": None, "unavailable": Unavailable(), "nonce": b"N" * 24}
    if kind in plain:
        return plain[kind]
    if kind == "verifier":
        return Verifier(b"saltsalt", 4096, Secret(bytes(32)), Secret(bytes(32)), transition=True)
    if kind == "holder":
        return Holder(values[0], float(values[1]) if len(values) > 1 else None)
    if kind == "secret":
        return Secret(values[0].encode())
    assert kind == "upstream", words
    return UpstreamLogin(values[0].replace("-", ""), Secret(values[1].encode()))


@dataclass
class Play:
    """One dialogue being played."""

    dialogue: Dialogue
    at_once: int  # how many octets a leg is given at once
    facts: list[Fact] = field(default_factory=list)
    to_client: bytes = b""
    to_upstream: bytes = b""
    expiry: float | None = None  # seconds after which the machine wants to hear that it has expired

    def __post_init__(self) -> None:
        self.machine = Machine(self.dialogue.talk(), converse)
        self._said: dict[Leg, list[bytes]] = {Leg.CLIENT: [], Leg.UPSTREAM: []}
        self._queued = {Leg.CLIENT: b"", Leg.UPSTREAM: b""}
        self._open = {Leg.CLIENT}
        self._perform(self.machine.start())

    def play(self) -> None:
        steps = list(self.dialogue.steps)
        while steps:
            way, what = steps.pop(0)
            if way in ("=", "!="):
                self._look_for(what.removesuffix(b"\r\n").decode(), wanted=way == "=")
            elif way[0] == "A":
                self._question(way, what.removesuffix(b"\r\n").decode())
            elif way[1] == "<":
                self._expect(Leg.CLIENT if way[0] == "C" else Leg.UPSTREAM, what)
            else:
                while steps and steps[0][0] == way and not what.startswith(b"<") and not steps[0][1].startswith(b"<"):
                    what += steps.pop(0)[1]
                self._nothing_is_left(way, what)
                self._say(Leg.CLIENT if way[0] == "C" else Leg.UPSTREAM, what)
        self._nothing_is_left("the end", b"")

    def _say(self, leg: Leg, what: bytes) -> None:
        machine = self.machine
        if not what.startswith(b"<") or b"@" in what:
            self._queued[leg] += what
        elif what == b"<tls>":
            self._perform(machine.secured(leg, self._tls()))
        elif what == b"<open>":
            self._open.add(Leg.UPSTREAM)
            self._perform(machine.opened(Peer("192.0.2.1", 25, loopback=self._option("loopback") == "yes")))
        elif what == b"<late>":
            assert machine.awaits is leg
            self._perform(machine.late())
        elif what == b"<drain>":
            self._perform(machine.draining())
        elif what == b"<expired>":
            assert self.expiry is not None
            self._perform(machine.expired())
        else:
            reasons = {
                b"<gone>": None,
                b"<unreachable>": UpstreamFailure.UNREACHABLE,
                b"<handshake failed>": HandshakeFailure.OTHER,
            }
            if leg is Leg.UPSTREAM and (heard := self._queued[leg]):  # as the shell does: its last words come first
                self._queued[leg] = b""
                self._perform(machine.received(leg, heard))
            self._perform(machine.gone(leg, reasons[what]))
        self._pump()

    def _question(self, way: str, words: str) -> None:
        asked = self.machine.awaits
        assert isinstance(asked, Question), f"{self.dialogue.title}: {asked} instead of a question"
        if way == "A<":
            assert all(word in repr(asked) for word in words.split()), f"{self.dialogue.title}: {asked}"
            return
        self._nothing_is_left(way, words.encode())
        self._perform(self.machine.answered(answer(words)))
        self._pump()

    def _option(self, name: str) -> str:
        return (USUAL | self.dialogue.options)[name]

    def _tls(self) -> Tls:
        return Tls("TLSv1.3", "X", verified=self._option("verified") == "yes", identity=self._option("certificate"))

    def _pump(self) -> None:
        """As the shell does: give the leg that is awaited what has come for it."""
        while isinstance(leg := self.machine.awaits, Leg) and self._queued[leg]:
            data, self._queued[leg] = self._queued[leg][: self.at_once], self._queued[leg][self.at_once :]
            self._perform(self.machine.received(leg, data))

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Record):
                self.facts.append(action.fact)
                continue
            if isinstance(action, Expire):
                self.expiry = action.seconds
                continue
            leg = Leg.UPSTREAM if isinstance(action, Open) else action.leg
            if not isinstance(action, Open):
                assert leg in self._open, f"{action} on a leg that is not open"
            if isinstance(action, Send):
                self._note(leg, action.data)
            elif isinstance(action, Close):
                self._note(leg, action.last)
                self._said[leg].append(b"<close>")
                self._open.discard(leg)
            else:
                self._said[leg].append({Secure: b"<tls>", Open: b"<open>", Drop: b"<drop>"}[type(action)])
                if isinstance(action, Drop):
                    self._open.discard(leg)

    def _note(self, leg: Leg, data: bytes) -> None:
        if leg is Leg.CLIENT:
            self.to_client += data
        else:
            self.to_upstream += data
        for line in data.splitlines(keepends=True):
            said = self._said[leg]
            if said and not said[-1].endswith(b"\n") and not said[-1].startswith(b"<"):
                said[-1] += line
            else:
                said.append(line)

    def _expect(self, leg: Leg, what: bytes) -> None:
        said = self._said[leg]
        assert said, f"{self.dialogue.title}: nothing was said, {what!r} was expected"
        line = said.pop(0)
        if what.endswith(b"...\r\n"):
            assert line.startswith(what[:-5]), f"{self.dialogue.title}: {line!r} instead of {what!r}"
        else:
            assert line == what, f"{self.dialogue.title}: {line!r} instead of {what!r}"

    def _look_for(self, words: str, *, wanted: bool) -> None:
        texts = [repr(fact) for fact in self.facts] + [repr(self.machine.talk.summary)]
        texts += [f"Expire {self.expiry}"] if self.expiry is not None else []
        found = any(all(word in text for word in words.split()) for text in texts)
        assert found is wanted, f"{self.dialogue.title}: {'no' if wanted else 'a'} fact with {words!r} in {texts}"

    def _nothing_is_left(self, way: str, what: bytes) -> None:
        left = {leg.value: said for leg, said in self._said.items() if said}
        assert not left, f"{self.dialogue.title}: {left} was not expected before {way} {what!r}"
