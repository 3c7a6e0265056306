"""Who comes in the night, and what each of them does. All that is done is tallied, by the labels of the metrics.

Each act is blocking and goes on alone, so that what it does is the same in every night.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from client import Account, Client, Unexpected
from gate import ADMINISTRATOR, ALICE, BERTA, COPIER, GUESSED, HOST, NETWORKS, OTHER_HOST, ROOT, Gate
from legacy import Legacy

CODES = {
    "accepted": 235,
    "rejected": 535,
    "weak": 534,
    "clear_refused": 530,
    "impossible": 454,
    "upstream_unavailable": 454,
}
HOME = "bob@example.com"
LINE = b"The quick brown fox jumps over the lazy dog, and the night is long.\r\n"
RENEWED = "CRAM-MD5 SCRAM-SHA-256"  # what the legacy server has besides when it comes back
GUESSES = 3  # in one connection; then gatepost hangs up

Series = tuple[tuple[str, str], ...]


class Tally:
    """What was done: numbers by a selector of PromQL and by labels."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[Series]] = {}

    def add(self, selector: str, number: int = 1, /, **labels: str) -> None:
        self.counts.setdefault(selector, Counter())[tuple(sorted(labels.items()))] += number

    def total(self, selector: str) -> int:
        return self.counts[selector].total()


class Habit(NamedTuple):
    """How somebody logs in."""

    account: Account
    listener: str
    tls: str
    mechanism: str
    host: str = HOST
    network: str = "staff"


STAFF = (
    Habit(ALICE, "submission", "TLSv1.3", "PLAIN"),
    Habit(BERTA, "submissions", "TLSv1.3", "LOGIN"),
    Habit(ALICE, "submissions", "TLSv1.2", "SCRAM-SHA-256"),
    Habit(BERTA, "submission", "TLSv1.3", "PLAIN"),
    Habit(ALICE, "submission", "TLSv1.2", "SCRAM-SHA-1", OTHER_HOST),
    Habit(BERTA, "submission", "TLSv1.3", "CRAM-MD5"),
    Habit(ALICE, "submissions", "TLSv1.3", "PLAIN", OTHER_HOST),
)


@dataclass
class Cast:
    """Everybody. The acts take the number of the quarter, which makes them differ."""

    gate: Gate
    legacy: Legacy
    await_upstream: Callable[[], None]  # until gatepost knows that the legacy server is back
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._chance = random.Random(4711)  # noqa: S311  sizes of messages
        self._contexts = {name: self._context(name) for name in ("TLSv1.1", "TLSv1.2", "TLSv1.3")}
        self._sessions: dict[tuple[str, str, str], ssl.SSLSession | None] = {}
        self._held: list[Client] = []

    # --- the acts ---

    def staff(self, quarter: int) -> None:
        """Two of the staff send a message each."""
        for turn in (2 * quarter, 2 * quarter + 1):
            habit = STAFF[turn % len(STAFF)]
            with self._enter(habit.listener, f"{NETWORKS['staff']}.{turn % len(STAFF) + 1}", habit) as client:
                known = habit.mechanism != "CRAM-MD5" or self._is_renewed
                result = "accepted" if known else "impossible"
                self._log_in(client, habit, result)
                if known:
                    recipients = (HOME, "cem@example.com")[: 1 + turn % 2]
                    self._mail(client, habit.listener, recipients, self._chance.randrange(20, 3000))
                client.quit()

    def staff_in_vain(self, quarter: int) -> None:
        """The same during an outage: each is told to come back later."""
        for turn in (2 * quarter, 2 * quarter + 1):
            habit = STAFF[turn % 2]
            with self._enter(habit.listener, f"{NETWORKS['staff']}.{turn % 2 + 1}", habit) as client:
                self._log_in(client, habit, "upstream_unavailable")
                self.tally.add("gatepost_upstream_failures_total", listener=habit.listener, reason="unreachable")
                client.quit()

    def administrator(self, _: int) -> None:
        """May use nothing weaker than SCRAM-SHA-256, and tries."""
        for mechanism, result, decision in (("PLAIN", "weak", "refused"), ("SCRAM-SHA-256", "accepted", "allowed")):
            habit = Habit(ROOT, "submissions", "TLSv1.3", mechanism)
            with self._enter(habit.listener, ADMINISTRATOR, habit) as client:
                self._log_in(client, habit, result)
                labels = {"listener": habit.listener, "minimum": "SCRAM-SHA-256", "decision": decision}
                self.tally.add("gatepost_policy_decisions_total", **labels)
                client.quit()

    def copier(self, quarter: int) -> None:
        """A device without TLS: it says its password before anyone can stop it, or waits to be asked."""
        with self._connect("submission", f"{NETWORKS['printers']}.7") as client:
            client.expect(220)
            client.expect(250, "EHLO copier.example")
            mechanism = "LOGIN" if quarter % 6 == 0 else "PLAIN"
            habit = Habit(COPIER, "submission", "", mechanism, network="printers")
            self._log_in(client, habit, "clear_refused")
            client.quit()

    def old_device(self, _: int) -> None:
        """A scanner that cannot do better than TLS 1.1."""
        habit = Habit(BERTA, "devices", "TLSv1.1", "LOGIN", network="printers")
        with self._enter("devices", f"{NETWORKS['printers']}.8", habit) as client:
            self._log_in(client, habit, "accepted")
            self._mail(client, "devices", (HOME,), 1500)
            client.quit()

    def guesser(self, quarter: int) -> None:
        """Tries passwords over good TLS, from several addresses, until gatepost hangs up."""
        for turn in range(2):
            guess = Account(GUESSED.user, f"{quarter}-{turn}")
            habit = Habit(guess, "submissions", "TLSv1.3", "PLAIN", network="elsewhere")
            with self._enter(habit.listener, f"{NETWORKS['elsewhere']}.{(quarter + turn) % 5 + 1}", habit) as client:
                for _ in range(GUESSES):
                    self._log_in(client, habit, "rejected")
                client.expect(421)
                client.drain()
            self.tally.add("gatepost_limits_hit_total", listener=habit.listener, limit="login_failures")

    def stranger(self, quarter: int) -> None:
        """Another server, which brings mail without a login, in the clear or over TLS."""
        source = f"{NETWORKS['elsewhere']}.99"
        if quarter % 2:
            client = self._enter("mx", source, Habit(ALICE, "mx", "TLSv1.3", ""))
        else:
            client = self._connect("mx", source)
            client.expect(220)
            client.expect(250, "EHLO mx.example.net")
        with client:
            self._mail(client, "mx", (HOME,), self._chance.randrange(20, 500))
            client.quit()

    def unwanted(self, _: int) -> None:
        """Mail for nobody, mail that is refused, and mail that breaks off."""
        habit = Habit(ALICE, "submission", "TLSv1.3", "PLAIN")
        with self._enter(habit.listener, f"{NETWORKS['staff']}.1", habit) as client:
            self._log_in(client, habit, "accepted")
            if client.mail(ALICE.user, ("nobody@example.org",), LINE) != 550:  # noqa: PLR2004  no such mailbox
                raise Unexpected(client.text.decode())
            client.expect(250, "RSET")
            if client.mail("winner@example.net", (HOME,), LINE) != 554:  # noqa: PLR2004  unwanted
                raise Unexpected(client.text.decode())
            self.tally.add("gatepost_messages_total", listener=habit.listener, result="rejected")
            for code, command in ((250, f"MAIL FROM:<{ALICE.user}>"), (250, f"RCPT TO:<{HOME}>"), (354, "DATA")):
                client.expect(code, command)
            client.send(LINE)
        self.tally.add("gatepost_messages_total", listener=habit.listener, result="aborted")

    # --- idlers ---

    def idlers(self, _: int) -> None:
        """Come, go so far, and do nothing more."""
        clear = self._connect("submission", f"{NETWORKS['elsewhere']}.50")
        clear.expect(220)
        greeted = self._connect("submission", f"{NETWORKS['elsewhere']}.51")
        greeted.expect(220)
        greeted.expect(250, "EHLO idle.example")
        self._held += [clear, greeted]
        for script in ((), ("",), ("", "MAIL"), ("", "MAIL", "BDAT")):
            habit = Habit(ALICE, "submission", "TLSv1.3", "PLAIN")
            client = self._enter(habit.listener, f"{NETWORKS['staff']}.6", habit)
            self._held.append(client)
            if script:
                self._log_in(client, habit, "accepted")
            for step in script:
                self._go_further(client, step)

    def _go_further(self, client: Client, step: str) -> None:
        if step == "MAIL":
            client.expect(250, f"MAIL FROM:<{ALICE.user}>")
            client.expect(250, f"RCPT TO:<{HOME}>")
        elif step == "BDAT":
            client.send(b"BDAT %d\r\n" % len(LINE) + LINE)
            client.expect(250)
            self.tally.add("gatepost_messages_total", listener="submission", result="aborted")  # when it leaves

    def idlers_leave(self, _: int) -> None:
        for client in self._held:
            client.quit()
        self._held.clear()

    # --- the legacy server's own night ---

    def slow(self, _: int) -> None:
        self.legacy.delay_seconds = 0.2

    def outage(self, _: int) -> None:
        """The legacy server goes, while somebody is logged in there."""
        habit = STAFF[0]
        with self._enter(habit.listener, f"{NETWORKS['staff']}.1", habit) as client:
            self._log_in(client, habit, "accepted")
            self.legacy.stop()
            client.expect(421, f"MAIL FROM:<{ALICE.user}>")
            client.drain()
        self.tally.add("gatepost_upstream_failures_total", listener=habit.listener, reason="closed")

    def recovery(self, _: int) -> None:
        """It comes back, quick and with more mechanisms."""
        self.legacy.delay_seconds = 0.0
        self.legacy.mechanisms += f" {RENEWED}"
        self.legacy.start()
        self.await_upstream()

    # --- what the acts are made of ---

    def _context(self, version: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.gate.ca)
        if version == "TLSv1.1":
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 needs the level lowered for it
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
        return context

    @property
    def _is_renewed(self) -> bool:
        return RENEWED in self.legacy.mechanisms

    def _connect(self, listener: str, source: str) -> Client:
        self.tally.add("gatepost_conversations_total", listener=listener)
        return Client(self.gate.ports[listener], source)

    def _enter(self, listener: str, source: str, habit: Habit) -> Client:
        """Over TLS, by a session from before if there is one, and after EHLO."""
        client = self._connect(listener, source)
        if listener != "submissions":
            client.expect(220)
            client.expect(250, "EHLO client.example")
            client.expect(220, "STARTTLS")
        place = (source, habit.tls, habit.host)
        client.secure(self._contexts[habit.tls], habit.host, self._sessions.get(place))
        if listener == "submissions":
            client.expect(220)
        client.expect(250, "EHLO client.example")
        resumed = str(client.is_resumed).lower()
        selector = 'gatepost_tls_handshakes_total{leg="client"}'
        self.tally.add(selector, listener=listener, version=habit.tls, resumed=resumed)
        self._sessions[place] = client.session
        return client

    def _log_in(self, client: Client, habit: Habit, result: str) -> None:
        """One attempt, with that result."""
        listener, mechanism, network = habit.listener, habit.mechanism, habit.network
        code = client.log_in(mechanism, habit.account)
        if code != CODES[result]:
            raise Unexpected(f"{mechanism}: {code} {client.text.decode()} instead of {result}")
        channel = "clear" if result == "clear_refused" else "tls"
        attempted = {"listener": listener, "mechanism": mechanism, "channel": channel, "result": result}
        self.tally.add("gatepost_auth_attempts_total", **attempted)
        self.tally.add("gatepost_auth_attempts_by_network_total", network=network, result=result)
        if channel == "clear" and mechanism == "PLAIN":  # LOGIN waits to be asked, and is not
            exposed = {"listener": listener, "network": network, "mechanism": mechanism}
            self.tally.add("gatepost_auth_credentials_exposed_total", **exposed)
        if result in ("accepted", "rejected"):
            strongest = "SCRAM-SHA-256" if self._is_renewed else "PLAIN"
            upstream = "CRAM-MD5" if mechanism == "CRAM-MD5" else strongest  # which is relayed
            rewritten = {"client_mechanism": mechanism, "upstream_mechanism": upstream, "result": result}
            self.tally.add("gatepost_auth_rewrites_total", **rewritten)

    def _mail(self, client: Client, listener: str, recipients: tuple[str, ...], lines: int) -> None:
        body = LINE * lines
        if (code := client.mail(ALICE.user, recipients, body)) != 250:  # noqa: PLR2004  accepted
            raise Unexpected(f"{code} {client.text.decode()}")
        self.tally.add("gatepost_messages_total", listener=listener, result="accepted")
        self.tally.add("gatepost_message_recipients_total", len(recipients), listener=listener)
        self.tally.add("gatepost_message_body_bytes_total", len(body) + len(b"\r\n.\r\n"), listener=listener)
