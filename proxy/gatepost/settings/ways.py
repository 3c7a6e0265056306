"""Which way a login takes from the client's mechanism to the upstream, as far as the settings alone decide it.

Whether the upstream offers what is needed is known only later. Here is what could be, so that a mechanism that can lead
nowhere is found when the file is read, and `gatepost check` can say what will become of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gatepost.facts import Mechanism
from gatepost.settings.models import ListenerSettings, Represent, Settings
from gatepost.settings.values import STRENGTH

# Strongest first.
PASSWORD = (
    Mechanism.SCRAM_SHA_256,
    Mechanism.SCRAM_SHA_1,
    Mechanism.CRAM_MD5,
    Mechanism.PLAIN,
    Mechanism.LOGIN,
)
CAN_ACT = (Mechanism.SCRAM_SHA_256, Mechanism.SCRAM_SHA_1, Mechanism.PLAIN)  # the others cannot say whom to act as
BEARER = (Mechanism.OAUTHBEARER, Mechanism.XOAUTH2)

# By what evidence that was not proven here may be passed on.
_PASSED_ON = {
    Mechanism.PLAIN: PASSWORD,
    Mechanism.LOGIN: PASSWORD,
    Mechanism.OAUTHBEARER: BEARER,
    Mechanism.XOAUTH2: BEARER,
}
REPRESENTED_BY = {
    Represent.SECRET: PASSWORD,
    Represent.SERVICE: CAN_ACT,
    Represent.XCLIENT: (Mechanism.XCLIENT,),
    Represent.TOKEN: BEARER,
    Represent.CERTIFICATE: (Mechanism.EXTERNAL,),
}
HANDED_OVER = frozenset({Mechanism.PLAIN, Mechanism.LOGIN, *BEARER})  # what is sent is the credential itself
_NOT_UNASKED = Mechanism.CRAM_MD5  # weak, and its users' passwords must be stored as they are


@dataclass(frozen=True, slots=True)
class Ways:
    """What the settings say about logins, gathered from their tables. Without any: all is passed on."""

    mechanisms: tuple[Mechanism, ...] | None = None
    relay: tuple[Mechanism, ...] = ()
    represent: Represent | None = None
    users: bool = False
    verify_passwords: bool = False
    tokens: bool = False
    client_ca: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Ways:
        """The ways of a whole file."""
        return cls(
            mechanisms=settings.upstream.mechanisms,
            relay=settings.upstream.relay,
            represent=settings.upstream.represent,
            users=settings.users is not None,
            verify_passwords=settings.users is not None and settings.users.verify_passwords,
            tokens=settings.tokens is not None,
            client_ca=settings.tls.client_ca is not None,
        )

    def proves(self, mechanism: Mechanism) -> bool:
        """Whether this mechanism proves to gatepost itself who the user is."""
        if mechanism in (Mechanism.PLAIN, Mechanism.LOGIN):
            return self.verify_passwords
        if mechanism in BEARER:
            return self.tokens
        if mechanism is Mechanism.EXTERNAL:
            return self.client_ca
        return self.users and mechanism not in self.relay

    def toward(self, mechanism: Mechanism) -> tuple[Mechanism, ...]:
        """By what a login by this mechanism may reach the upstream, strongest first; none: it leads nowhere."""
        if mechanism in self.relay:
            return (mechanism,)
        if self.proves(mechanism):
            return self.representing
        return self._allowed(_PASSED_ON.get(mechanism, ()))

    @property
    def representing(self) -> tuple[Mechanism, ...]:
        """By what a proven user may be represented to the upstream."""
        return self._allowed(REPRESENTED_BY[self.represent]) if self.represent else ()

    def exposed(self, mechanism: Mechanism) -> frozenset[Mechanism]:
        """By what a login by this mechanism may send a password or a token as it is to the upstream."""
        return HANDED_OVER.intersection(self.toward(mechanism))

    def _allowed(self, mechanisms: tuple[Mechanism, ...]) -> tuple[Mechanism, ...]:
        if self.mechanisms is None:
            return mechanisms
        return tuple(one for one in mechanisms if one is Mechanism.XCLIENT or one in self.mechanisms)


def keeps_apart(template: str) -> bool:
    """Whether logins that differ differ at the upstream as well, if this is `upstream.login_template`."""
    return "{login}" in template or ("{local}" in template and "{domain}" in template)


@lru_cache(maxsize=64)
def accepted(mechanisms: tuple[Mechanism, ...] | None, relay: tuple[Mechanism, ...] = ()) -> tuple[Mechanism, ...]:
    """What a listener with these `mechanisms` accepts, if it leads to the upstream. To relay one is to ask for it."""
    if mechanisms is None:
        return tuple(one for one in STRENGTH if one is not _NOT_UNASKED or one in relay)
    return tuple(one for one in STRENGTH if one in mechanisms)


def usable(listener: ListenerSettings, ways: Ways) -> tuple[Mechanism, ...]:
    """What clients of a listener may log in by, as far as the settings decide it."""
    return tuple(one for one in accepted(listener.mechanisms, ways.relay) if ways.toward(one))
