"""What only shows when keys are looked at together, and in the files they name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatepost.settings import authentication
from gatepost.settings.draft import Draft, Table, read_draft, repeated, run
from gatepost.settings.files import check_readable, check_secret
from gatepost.settings.keypairs import check_authorities, check_pair
from gatepost.settings.models import Represent, UpstreamTls
from gatepost.settings.observation import BUILT_IN_NETWORKS, LogLogins
from gatepost.settings.problems import Problem, quote, write_key
from gatepost.settings.values import Address


def check_together(raw: dict[str, Any], folder: Path) -> Iterator[Problem]:
    """Every contradiction in the parsed file `raw`, whose paths are relative to `folder`."""
    draft = read_draft(raw, folder)
    for check in (
        _check_names,
        _check_binds,
        _check_files,
        _check_upstream_pair,
        _check_upstream_tls,
        _check_hash_key,
        *authentication.CHECKS,
    ):
        yield from run(check, draft)


def _check_names(draft: Draft) -> Iterator[Problem]:
    yield from _check_unique(draft.listeners, "listeners")
    yield from _check_unique(draft.networks, "observe", "networks")
    for index, network in enumerate(draft.networks):
        if (name := network.get("name")) in BUILT_IN_NETWORKS:
            expected = f"a name other than {', '.join(BUILT_IN_NETWORKS)}, which are built in"
            yield Problem(write_key(("observe", "networks", index, "name")), quote(name), expected)


def _check_unique(rows: tuple[Table, ...], *place: str) -> Iterator[Problem]:
    for index, name, first in repeated(rows, "name"):
        expected = f"a name other than that of {write_key((*place, first))}"
        yield Problem(write_key((*place, index, "name")), quote(name), expected)


def _check_binds(draft: Draft) -> Iterator[Problem]:
    taken: list[tuple[str, Address]] = []
    for key, address in _binds(draft):
        holder = next((other for other, held in taken if _clash(address, held)), None)
        if holder is not None:
            yield Problem(key, quote(str(address)), f"an address that {holder} does not use")
        taken.append((key, address))


def _binds(draft: Draft) -> Iterator[tuple[str, Address]]:
    for index, listener in enumerate(draft.listeners):
        for position, address in listener.each("bind"):
            yield write_key(("listeners", index, "bind", position)), address
    bind = draft.observe.get("bind")
    if bind is not None:
        yield "observe.bind", bind


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
    yield from check_pair("upstream", draft.upstream.get("certificate"), draft.upstream.get("key"))
    tables = {"tls": draft.tls, "upstream": draft.upstream, "users": draft.users}
    tables |= {"tokens": draft.tokens, "oauth": draft.oauth, "log": draft.log}
    for table, name, check in (
        ("tls", "client_ca", check_authorities),
        ("upstream", "ca", check_authorities),
        ("upstream", "service_password_file", check_secret),
        ("users", "file", check_readable),
        ("tokens", "jwks_file", check_readable),
        ("tokens", "ca", check_authorities),
        ("tokens", "client_secret_file", check_secret),
        ("oauth", "ca", check_authorities),
        ("oauth", "client_secret_file", check_secret),
        ("log", "hash_key_file", check_secret),
    ):
        place = tables[table]
        path = place.get(name) if place else None
        if path is not None:
            yield from check(f"{table}.{name}", path)


def _check_upstream_pair(draft: Draft) -> Iterator[Problem]:
    given = draft.upstream.given("certificate", "key")
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if given == (one,):
            yield Problem(f"upstream.{other}", "nothing", f"the file that belongs to upstream.{one}")


def _check_upstream_tls(draft: Draft) -> Iterator[Problem]:
    if draft.upstream["tls"] is not UpstreamTls.NEVER:
        return
    expected = 'nothing while upstream.tls is "never"'
    for name in ("ca", "certificate", "key"):
        path = draft.upstream.get(name)
        if path is not None:
            yield Problem(f"upstream.{name}", quote(str(path)), expected)
    if draft.upstream.get("pins"):
        yield Problem("upstream.pins", "pins", expected)
    if draft.upstream.get("represent") is Represent.CERTIFICATE:
        yield Problem("upstream.represent", '"certificate"', 'another way while upstream.tls is "never"')


def _check_hash_key(draft: Draft) -> Iterator[Problem]:
    log = draft.log
    if log.given("hash_key_file") and LogLogins.HASHED not in (log["logins"], log["clear_logins"]):
        yield Problem("log.hash_key_file", "a file", "nothing while no logins are hashed")
