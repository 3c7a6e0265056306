"""A settings file that may hold mistakes, as the checks of keys together see it.

They work on whatever is good by itself, so that one mistake does not hide another. A check that reads a key with a
mistake of its own has nothing to say: `Unknown` ends it, and the mistake is reported where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError

from gatepost.settings.forms import unwrap
from gatepost.settings.models import (
    CertificateSettings,
    ListenerSettings,
    LoginSettings,
    OauthSettings,
    PolicySettings,
    TlsSettings,
    TokenSettings,
    UpstreamSettings,
    UsersSettings,
)
from gatepost.settings.observation import LogSettings, NetworkSettings, ObserveSettings
from gatepost.settings.problems import Problem
from gatepost.settings.section import Section


class Unknown(Exception):
    """What a check needs to know is not good by itself."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file; `raw` is what stands in its place, which may be no table at all."""

    model: type[Section]
    raw: object
    folder: Path

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  keys have types of many kinds
        """The good value of a key, or its default; raises Unknown."""
        field = self.model.model_fields[name]
        table = self._table()
        if name in table:
            return self._read(_form(self.model, name), table[name])
        if field.is_required():
            raise Unknown
        return field.get_default()

    def get(self, name: str) -> Any:  # noqa: ANN401  as above
        """The same, but None for what is unknown."""
        try:
            return self[name]
        except Unknown:
            return None

    def given(self, *names: str) -> tuple[str, ...]:
        """Those of these keys that the file has, good or bad; raises Unknown where no table is."""
        table = self._table()
        return tuple(name for name in names if name in table)

    def each(self, name: str) -> Iterator[tuple[int, Any]]:
        """Yield the good items of a list and their places, also from a list that holds bad ones."""
        listed = self.raw.get(name) if isinstance(self.raw, dict) else None
        for place, item in enumerate(listed if isinstance(listed, list) else []):
            try:
                yield place, self._read(_item_form(self.model, name), item)
            except Unknown:
                continue

    def _table(self) -> dict[str, Any]:
        if not isinstance(self.raw, dict):
            raise Unknown
        return self.raw

    def _read(self, form: TypeAdapter[Any], value: object) -> Any:  # noqa: ANN401  as above
        try:
            return form.validate_python(value, context={"folder": self.folder})
        except ValidationError:
            raise Unknown from None


@dataclass(frozen=True, slots=True)
class Draft:
    """The tables of the file. Of those that may be left out, None says that it was."""

    upstream: Table
    logins: tuple[Table, ...]
    tls: Table
    certificates: tuple[Table, ...]
    listeners: tuple[Table, ...]
    policies: tuple[Table, ...]
    users: Table | None
    tokens: Table | None
    oauth: Table | None
    observe: Table
    networks: tuple[Table, ...]
    log: Table


Check = Callable[[Draft], Iterator[Problem]]


def read_draft(raw: dict[str, Any], folder: Path) -> Draft:
    """Take the parsed file `raw` apart, whose paths are relative to `folder`."""

    def table(model: type[Section], name: str) -> Table:
        return Table(model, raw.get(name, {}), folder)

    def optional(model: type[Section], name: str) -> Table | None:
        return table(model, name) if name in raw else None

    def rows(model: type[Section], value: object, name: str) -> tuple[Table, ...]:
        listed = value.get(name) if isinstance(value, dict) else None
        return tuple(Table(model, row, folder) for row in (listed if isinstance(listed, list) else []))

    return Draft(
        upstream=table(UpstreamSettings, "upstream"),
        logins=rows(LoginSettings, raw.get("upstream"), "logins"),
        tls=table(TlsSettings, "tls"),
        certificates=rows(CertificateSettings, raw.get("tls"), "certificates"),
        listeners=rows(ListenerSettings, raw, "listeners"),
        policies=rows(PolicySettings, raw, "policies"),
        users=optional(UsersSettings, "users"),
        tokens=optional(TokenSettings, "tokens"),
        oauth=optional(OauthSettings, "oauth"),
        observe=table(ObserveSettings, "observe"),
        networks=rows(NetworkSettings, raw.get("observe"), "networks"),
        log=table(LogSettings, "log"),
    )


def repeated(rows: tuple[Table, ...], key: str) -> Iterator[tuple[int, str, int]]:
    """Yield each row whose text stood in one before, in any case: its place, the text, the place of the first."""
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        text = row.get(key)
        if text is not None and first.setdefault(text.casefold(), index) != index:
            yield index, text, first[text.casefold()]


def run(check: Check, draft: Draft) -> Iterator[Problem]:
    """Yield what a check finds before it meets something unknown."""
    try:
        yield from check(draft)
    except Unknown:
        return


@cache
def _form(model: type[Section], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    form: Any = Annotated[field.annotation, field]
    return TypeAdapter(form)


@cache
def _item_form(model: type[Section], name: str) -> TypeAdapter[Any]:
    plain, _ = unwrap(model.model_fields[name].annotation, ())
    return TypeAdapter(get_args(plain)[0])
