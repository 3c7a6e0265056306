"""What gatepost asks of a store of users. The users file is one; LDAP or an HTTP service would be one more module."""

from __future__ import annotations

from typing import Protocol

from gatepost.sasl.questions import (
    CheckPassword,
    FindPassword,
    FindUpstreamLogin,
    FindVerifier,
    UpstreamLogin,
    Verifier,
)
from gatepost.sasl.secret import Secret


class Store(Protocol):
    """Answers about users. Each raises NoAnswer when it has none; no answer tells whether a user is known."""

    async def find_verifier(self, question: FindVerifier) -> Verifier: ...

    async def find_password(self, question: FindPassword) -> Secret: ...

    async def check_password(self, question: CheckPassword) -> bool: ...

    async def find_upstream_login(self, question: FindUpstreamLogin) -> UpstreamLogin | None: ...

    async def replace_upstream_secret(self, user: str, secret: Secret) -> None:
        """From now on this is the user's secret for the upstream, also if it cannot be written down."""
        ...
