"""The legs of one conversation: their channels, and which of them broke while something was being sent."""

from __future__ import annotations

from contextlib import suppress

from gatepost.facts import Leg
from gatepost.net.channel import Channel, Woken


class Legs:
    """What cannot be sent breaks a leg. The machine hears of it when the rest of its actions is done."""

    __slots__ = ("_said", "broken", "channels")

    def __init__(self) -> None:
        self.channels: dict[Leg, Channel] = {}
        self.broken: Leg | None = None  # and the machine does not know yet
        self._said = b""  # what the broken upstream was heard to say

    def send(self, leg: Leg, data: bytes, *, unanswered: bool) -> bool:
        """False: `flush` has to wait for the rest. `unanswered`: an upstream that speaks now breaks its leg."""
        try:
            if unanswered and (said := self.channels[leg].received_already()):
                self.broken, self._said = leg, said  # an answer to what it has not seen: nothing more goes there
            return leg is self.broken or self.channels[leg].send(data)
        except OSError:
            self.broken = leg
            return True

    async def flush(self, leg: Leg) -> None:
        try:
            await self.channels[leg].flush()
        except (OSError, Woken):
            self.broken = leg

    async def finish(self, leg: Leg, last: bytes) -> None:
        """Close, in good order as far as the peer lets us."""
        with suppress(OSError, Woken):
            await self.channels[leg].finish(last)
        self.drop(leg)

    def drop(self, leg: Leg) -> None:
        self.channels.pop(leg).close()

    def lose(self, leg: Leg) -> bytes:
        """Forget that it broke; what the upstream said before it went: it may be why."""
        channel, said = self.channels.get(leg), self._said
        self.broken, self._said = None, b""
        if leg is Leg.UPSTREAM and channel is not None:
            said = said or channel.received_already()
        return said

    def wake(self) -> None:
        for channel in self.channels.values():
            channel.wake()

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()
