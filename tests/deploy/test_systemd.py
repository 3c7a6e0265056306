"""The units: systemd finds nothing wrong with them, they are hardened, and they fit the program and its example."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import peers
from gatepost.app.regime import RESERVED_DESCRIPTORS
from gatepost.cli.main import ExitCode
from gatepost.settings import LimitSettings, TimeoutSettings

REPOSITORY = Path(__file__).parents[2]
UNITS = sorted((REPOSITORY / "deploy" / "systemd").iterdir())
SERVICE = REPOSITORY / "deploy" / "systemd" / "gatepost.service"
SOCKETS = [unit for unit in UNITS if unit.suffix == ".socket"]
INSTALLED = "/opt/gatepost/bin/gatepost"
LONGEST_ENDING = 7  # seconds after the drain, for what is still to be written; see docs/operating.md
SWITCHED_OFF = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


@pytest.fixture
def analyze() -> str:
    return peers.require("systemd-analyze", package="systemd")


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """As they are, but for the program, which must be there to be verified."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
    return [str(tmp_path / unit.name) for unit in UNITS]


def assigned(unit: Path) -> dict[str, list[str]]:
    """The values of each key, in order."""
    values: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def verified(analyze: str, units: list[str]) -> str:
    result = subprocess.run(
        [analyze, "verify", "--man=no", *units],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return result.stdout


def test_systemd_finds_nothing_wrong(analyze: str, units: list[str]) -> None:
    assert verified(analyze, units) == ""


def test_systemd_would_find_something_wrong(analyze: str, units: list[str]) -> None:
    """It ends with 0 for a key that it does not know: what it says is what counts."""
    for unit in map(Path, units):
        unit.write_text(unit.read_text().replace("\n[Install]", "PrivateTemp=yes\n\n[Install]"))
    assert verified(analyze, units).count("Unknown key 'PrivateTemp'") == len(units)


def test_the_service_is_exposed_by_no_more_than_2(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(SERVICE)]
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert "Overall exposure level for gatepost.service: 1." in result.stdout
    assert result.returncode == 0


def test_the_service_gives_the_program_what_it_needs() -> None:
    service = assigned(SERVICE)
    assert service["RestartPreventExitStatus"] == [str(int(ExitCode.CONFIG))]
    assert int(service["TimeoutStopSec"][0]) > TimeoutSettings().drain + LONGEST_ENDING
    assert int(service["LimitNOFILE"][0]) == 2 * LimitSettings().conversations + RESERVED_DESCRIPTORS


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda unit: unit.stem)
def test_a_socket_is_what_a_listener_of_the_example_would_bind(unit: Path) -> None:
    example = tomllib.loads(SWITCHED_OFF.sub("", (REPOSITORY / "deploy" / "gatepost.toml").read_text()))
    bind = {listener["name"]: listener["bind"] for listener in example["listeners"]}
    values = assigned(unit)
    assert values["Service"] == [SERVICE.name]
    assert values["ListenStream"] == bind[values["FileDescriptorName"][0]]
    assert values["BindIPv6Only"] == ["ipv6-only"]  # or the second would find the port taken by the first


def test_every_listener_of_the_example_has_a_socket() -> None:
    names = [assigned(unit)["FileDescriptorName"] for unit in SOCKETS]
    assert sorted(names) == [["smtp"], ["submission"], ["submissions"]]
