"""What only shows when keys are looked at together, and in the files they name.

These checks work on whatever parsed, so that one mistake does not hide another: a table here is a mapping of its good
keys, defaults included, and a key that is missing there makes a check silent, because its own mistake is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from gatepost.settings.keypairs import check_authorities, check_pair
from gatepost.settings.models import (
    Auth,
    CertificateSettings,
    ListenerSettings,
    ObserveSettings,
    Section,
    TlsSettings,
    UpstreamSettings,
    UpstreamTls,
)
from gatepost.settings.problems import Problem, quote, write_key
from gatepost.settings.values import Address, parse_address

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """Those values of a file that are good by themselves."""

    upstream: Table
    tls: Table
    certificates: tuple[Table, ...]
    listeners: tuple[Table, ...]
    binds: tuple[tuple[str, Address], ...]  # with their keys


def check_together(raw: Table, folder: Path) -> Iterator[Problem]:
    """Every contradiction in the parsed file `raw`, whose paths are relative to `folder`."""
    draft = _draft(raw, folder)
    yield from _check_names(draft)
    yield from _check_binds(draft)
    yield from _check_files(draft)
    yield from _check_upstream_tls(draft)
    yield from _check_password_path(draft)


def _draft(raw: Table, folder: Path) -> Draft:
    def keep(model: type[Section], value: object) -> Table:
        return _keep_good(model, value if isinstance(value, dict) else {}, folder)

    def keep_all(model: type[Section], value: object) -> tuple[Table, ...]:
        return tuple(keep(model, item) for item in _items(value))

    tls = raw.get("tls")
    return Draft(
        upstream=keep(UpstreamSettings, raw.get("upstream")),
        tls=keep(TlsSettings, tls),
        certificates=keep_all(CertificateSettings, tls.get("certificates") if isinstance(tls, dict) else None),
        listeners=keep_all(ListenerSettings, raw.get("listeners")),
        binds=tuple(_keep_binds(raw, keep(ObserveSettings, raw.get("observe")))),
    )


def _keep_good(model: type[Section], table: Table, folder: Path) -> Table:
    good: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in table:
            if not field.is_required():
                good[name] = field.get_default()
            continue
        form: Any = Annotated[field.annotation, field]
        try:
            good[name] = TypeAdapter(form).validate_python(table[name], context={"folder": folder})
        except ValidationError:
            continue
    return good


def _keep_binds(raw: Table, observe: Table) -> Iterator[tuple[str, Address]]:
    """Yield each good address, also from a list that holds a bad one."""
    for index, listener in enumerate(_items(raw.get("listeners"))):
        for position, item in enumerate(_items(listener.get("bind") if isinstance(listener, dict) else None)):
            try:
                yield write_key(("listeners", index, "bind", position)), parse_address(item)
            except ValueError:
                continue
    if "bind" in observe:
        yield "observe.bind", observe["bind"]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_names(draft: Draft) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, listener in enumerate(draft.listeners):
        name = listener.get("name")
        if name is not None and first.setdefault(name, index) != index:
            expected = f"a name other than that of listeners[{first[name]}]"
            yield Problem(write_key(("listeners", index, "name")), quote(name), expected)


def _check_binds(draft: Draft) -> Iterator[Problem]:
    taken: list[tuple[str, Address]] = []
    for key, address in draft.binds:
        holder = next((other for other, held in taken if _clash(address, held)), None)
        if holder is not None:
            yield Problem(key, quote(str(address)), f"an address that {holder} does not use")
        taken.append((key, address))


def _clash(one: Address, other: Address) -> bool:
    """Whether the system would refuse the second. Port 0 is a new port each time; "all" includes each address."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host.lower() == other.host.lower():
        return True
    ip, other_ip = one.ip, other.ip
    if ip is None or other_ip is None or ip.version != other_ip.version:
        return False
    return ip.is_unspecified or other_ip.is_unspecified


def _check_files(draft: Draft) -> Iterator[Problem]:
    yield from check_pair("tls", draft.tls.get("certificate"), draft.tls.get("key"))
    for index, pair in enumerate(draft.certificates):
        yield from check_pair(write_key(("tls", "certificates", index)), pair.get("certificate"), pair.get("key"))
    for key, authorities in (("tls.client_ca", draft.tls.get("client_ca")), ("upstream.ca", draft.upstream.get("ca"))):
        if authorities is not None:
            yield from check_authorities(key, authorities)


def _check_upstream_tls(draft: Draft) -> Iterator[Problem]:
    if draft.upstream.get("tls") is not UpstreamTls.NEVER:
        return
    expected = 'nothing while upstream.tls is "never"'
    if draft.upstream.get("ca") is not None:
        yield Problem("upstream.ca", quote(str(draft.upstream["ca"])), expected)
    if draft.upstream.get("pins"):
        yield Problem("upstream.pins", "pins", expected)


def _check_password_path(draft: Draft) -> Iterator[Problem]:
    """No password over a channel that is clear, or that proves nothing about who is at its other end."""
    needed = ("address", "tls", "trusted", "pins", "ca")
    if any(key not in draft.upstream for key in needed):
        return
    address, tls, trusted, pins, ca = (draft.upstream[key] for key in needed)
    proven = tls in (UpstreamTls.STARTTLS, UpstreamTls.IMPLICIT) or (tls is UpstreamTls.OPPORTUNISTIC and (pins or ca))
    logins = any(listener.get("auth", Auth.OFF) is not Auth.OFF for listener in draft.listeners)
    if proven or trusted or address.loopback or not logins:
        return
    channel = "in the clear" if tls is UpstreamTls.NEVER else "over a channel that proves nothing about its other end"
    found = f'"{tls.value}", so passwords would cross to {address} {channel}'
    expected = '"starttls" or "implicit", or trusted = true if the network up to it is as good as TLS'
    yield Problem("upstream.tls", found, expected)
