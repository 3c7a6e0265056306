"""The log's vocabulary: every event and every field. `docs/logs.md` is generated from here.

Fields have the names of OpenTelemetry's semantic conventions where those have one; `conversation.id` and what begins
with `gatepost.` or `smtp.` is gatepost's own. `ecs` is what the Elastic Common Schema calls a field, if it has a name
of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `convert` makes of its value what the Elastic Common Schema asks for."""

    name: str
    meaning: str
    ecs: tuple[str, ...] = ()
    convert: Callable[[object], object] = lambda value: value


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event: its levels, when it is written, and the fields it can have."""

    name: str
    level: str
    when: str
    fields: tuple[str, ...]


def _nanoseconds(seconds: object) -> object:
    assert isinstance(seconds, float)  # noqa: S101  every duration is
    return round(seconds * 1e9)


FIELDS = {
    field.name: field
    for field in (
        Field("conversation.id", "the same in all events of a conversation"),
        Field("gatepost.listener", "the listener's name"),
        Field("client.address", "the client's IP address", ("client.address", "client.ip")),
        Field("client.port", "the client's port"),
        Field(
            "gatepost.duration",
            "seconds: of a conversation, from connect to close; of a probe or a backend, until its answer",
            ("event.duration",),
            _nanoseconds,
        ),
        Field("gatepost.ending", "why a conversation ended: the label `ending` in [metrics](metrics.md)"),
        Field("gatepost.channel", "`clear` or `tls`: in an attempt, as it was then; of a conversation, in the end"),
        Field("smtp.hello", "the name in the client's EHLO"),
        Field("tls.protocol.version", "of the client's leg: `1.2`, `1.3`; absent when it was clear", ("tls.version",)),
        Field("gatepost.tls.cipher", "of the client's leg, by OpenSSL's name", ("tls.cipher",)),
        Field("tls.resumed", "whether the client's session was resumed"),
        Field("gatepost.upstream.tls.version", "of the upstream's leg; absent when it was clear"),
        Field("user.name", "a login name, if `[log]` has it written"),
        Field("user.hash", "a login name's keyed hash, if `[log]` has it hashed"),
        Field("gatepost.auth.mechanism", "what the client spoke"),
        Field("gatepost.upstream.auth.mechanism", "what the upstream was spoken to in"),
        Field("gatepost.auth.result", "what came of an attempt: the label `result`"),
        Field("gatepost.auth.exposed", "true when a credential was sent in the clear"),
        Field("gatepost.auth.failures", "failed logins of a conversation"),
        Field("gatepost.commands", "commands of a conversation"),
        Field("gatepost.replies", "replies to the client, by the first digit of their code"),
        Field("gatepost.messages.accepted", "messages that the upstream took"),
        Field("gatepost.messages.refused", "messages that it did not take, or that were broken off"),
        Field("gatepost.recipients", "recipients of accepted messages"),
        Field("gatepost.body.size", "octets of accepted messages"),
        Field("gatepost.refusals", "how often gatepost itself refused what: the label `refusal`"),
        Field("gatepost.violations", "all breaches of the protocol in a conversation"),
        Field("gatepost.violation", "the label `violation`"),
        Field("gatepost.limit", "the label `limit`"),
        Field("gatepost.leg", "`client` or `upstream`"),
        Field(
            "error.type",
            "why something failed: the label `reason` or `result`; of a bug, its type",
        ),
        Field("gatepost.error.message", "what is wrong with the operator's own files", ("error.message",)),
        Field("code.stacktrace", "where a bug was, without any value", ("error.stack_trace",)),
        Field("file.path", "the file"),
        Field("tls.server.not_after", "when the certificate expires", ("tls.server.x509.not_after",)),
        Field("gatepost.names", "the names that the certificate carries, or the first twenty"),
        Field("gatepost.users", "users in the file"),
        Field("gatepost.backend", "the label `backend`"),
        Field("gatepost.listeners", "every listener and its address"),
        Field("gatepost.observe", "the address of the status page and the metrics"),
        Field("gatepost.conversations.open", "conversations that were open"),
        Field("gatepost.conversations.limit", "conversations that can be open, as far as the file descriptors reach"),
        Field("gatepost.cut_off", "conversations that did not end in time"),
    )
}

_WHO = ("conversation.id", "gatepost.listener", "client.address", "client.port")
_LOGIN = ("user.name", "user.hash", "gatepost.auth.mechanism", "gatepost.upstream.auth.mechanism")
EVENTS = {
    event.name: event
    for event in (
        Event(
            "conversation",
            "info; debug when the client said nothing at all, as checks of an open port do",
            "a conversation ended: everything known about it",
            (
                *_WHO,
                "gatepost.duration",
                "gatepost.ending",
                "gatepost.channel",
                "smtp.hello",
                "gatepost.commands",
                "gatepost.replies",
                "gatepost.messages.accepted",
                "gatepost.messages.refused",
                "gatepost.recipients",
                "gatepost.body.size",
                "tls.protocol.version",
                "gatepost.tls.cipher",
                "tls.resumed",
                "gatepost.upstream.tls.version",
                *_LOGIN,
                "gatepost.auth.failures",
                "gatepost.auth.exposed",
                "gatepost.refusals",
                "gatepost.violations",
                "error.type",
            ),
        ),
        Event(
            "authentication",
            "warning; info when it was accepted, cancelled or abandoned",
            "an AUTH attempt ended",
            (*_WHO, *_LOGIN, "gatepost.auth.result", "gatepost.channel", "gatepost.auth.exposed"),
        ),
        Event(
            "violation",
            "warning",
            "a client broke the protocol as attacks do",
            (*_WHO, "gatepost.violation"),
        ),
        Event("limit hit", "warning", "a limit was reached inside a conversation", (*_WHO, "gatepost.limit")),
        Event(
            "handshake failed",
            "info; debug when the client said nothing at all",
            "a TLS handshake failed, on either leg",
            (*_WHO, "gatepost.leg", "error.type"),
        ),
        Event(
            "upstream failed",
            "warning",
            "the upstream could not be used in a conversation",
            (*_WHO, "error.type"),
        ),
        Event(
            "crashed",
            "error",
            "a bug in gatepost ended a conversation",
            (*_WHO, "error.type", "code.stacktrace"),
        ),
        Event("observation failed", "error", "a bug in gatepost kept it from counting something", ("error.type",)),
        Event("upstream up", "info", "the probe found it so, and not before", ("gatepost.duration",)),
        Event("upstream down", "warning", "the probe found it so, and not before", ("error.type",)),
        Event("upstream relays", "warning", "it would relay for strangers that come from here, and not before", ()),
        Event("upstream does not relay", "info", "it would not, and that is new", ()),
        Event(
            "certificate loaded",
            "info",
            "a certificate is in use",
            ("file.path", "gatepost.leg", "gatepost.names", "tls.server.not_after"),
        ),
        Event(
            "certificates refused",
            "error",
            "changed files cannot be used; the last good stay",
            ("gatepost.error.message",),
        ),
        Event("users loaded", "info", "the users file is in use", ("file.path", "gatepost.users")),
        Event(
            "users refused",
            "error",
            "the changed users file cannot be used; the last stays",
            ("gatepost.error.message",),
        ),
        Event(
            "backend failed",
            "warning",
            "the users file, hashing or the identity provider gave no answer",
            ("gatepost.backend", "error.type", "gatepost.duration"),
        ),
        Event("settings loaded", "info", "SIGHUP: they hold from now on", ("gatepost.conversations.limit",)),
        Event("settings refused", "error", "SIGHUP: they cannot be used, and others stay", ("gatepost.error.message",)),
        Event(
            "started",
            "info",
            "clients are let in",
            ("gatepost.listeners", "gatepost.observe", "gatepost.conversations.limit"),
        ),
        Event(
            "observed from elsewhere",
            "warning",
            "the status page and the metrics can be read by other machines, since `[observe] bind` is no loopback",
            ("gatepost.observe",),
        ),
        Event("draining", "info", "told to stop: whoever is open may finish", ("gatepost.conversations.open",)),
        Event("stopped", "info", "the end", ("gatepost.cut_off",)),
    )
}
