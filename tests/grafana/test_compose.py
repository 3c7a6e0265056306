"""The compose file and what it mounts are good, as far as can be told without an engine to run it."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from peers import require

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
FILE = COMPOSE / "compose.yaml"
PROVISIONING = ROOT / "grafana" / "provisioning"
SECONDS = 60.0

Service = dict[str, Any]
CONTENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Service] = CONTENT["services"]


def said(*command: str | Path, folder: Path | None = None) -> str:
    """What a program says, on either stream; it must be content."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def mounts(service: Service) -> dict[str, Path]:
    """The files and folders of this tree that a service sees, by the path where it sees them."""
    split = [volume.split(":") for volume in service.get("volumes", [])]
    return {where: (COMPOSE / source).resolve() for source, where, *_ in split if source.startswith(".")}


def seen_at(service: Service, path: str) -> Path:
    """What a service finds at a path."""
    for where, source in mounts(service).items():
        if PurePosixPath(path).is_relative_to(where):
            return source / PurePosixPath(path).relative_to(where)
    raise AssertionError(f"nothing is mounted at {path}")


def test_compose_can_read_it() -> None:
    program = require("docker-compose", package="docker-compose")
    assert said(program, "--file", FILE, "config", "--quiet") == ""


def test_it_has_all_that_is_needed_to_look_at_gatepost() -> None:
    assert set(SERVICES) == {"certificate", "postfix", "gatepost", "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback_alone(name: str) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", []))
    assert SERVICES[name].get("network_mode") in (None, "none")


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_mounts_and_builds_from_is_there(name: str) -> None:
    service = SERVICES[name]
    assert all(source.exists() for source in mounts(service).values())
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []) if volume.startswith("."))
    named = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith(".")}
    assert named <= set(CONTENT["volumes"])
    if build := service.get("build"):
        context = (COMPOSE / build["context"]).resolve()
        recipe = (context / build["dockerfile"]).read_text()
        for copied in re.findall(r"^COPY (.*) \S+$", recipe, re.MULTILINE):
            assert all((context / source).exists() for source in copied.split())


def test_an_image_from_elsewhere_has_a_version() -> None:
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    elsewhere = {service["image"] for service in SERVICES.values()} - built
    assert elsewhere
    assert all(re.fullmatch(r"docker\.io/\w+/\w+:v?\d+\.\d+\.\d+", image) for image in elsewhere)


def test_an_image_is_built_once_and_who_else_uses_it_does_not_look_for_it_elsewhere() -> None:
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert len(built) == len(set(built))
    users = [service for service in SERVICES.values() if "build" not in service and service["image"] in built]
    assert [service["pull_policy"] for service in users] == ["never"]


def test_gatepost_finds_its_settings_good(tmp_path: Path) -> None:
    shutil.copy(seen_at(SERVICES["gatepost"], "/etc/gatepost/gatepost.toml"), tmp_path)
    make_certificate(tmp_path / "tls")
    answer = said(sys.executable, "-m", "gatepost", "check", "--config", tmp_path / "gatepost.toml")
    assert answer.startswith(f"{tmp_path / 'gatepost.toml'}: good\n")


def test_ports_and_names_agree_with_the_settings() -> None:
    settings = tomllib.loads(seen_at(SERVICES["gatepost"], "/etc/gatepost/gatepost.toml").read_text())
    inside = {port.rpartition(":")[2] for port in SERVICES["gatepost"]["ports"]}
    bound = [
        *(address for listener in settings["listeners"] for address in listener["bind"]),
        settings["observe"]["bind"],
    ]
    assert {address.rpartition(":")[2] for address in bound} == inside
    assert all(address.startswith("0.0.0.0:") for address in bound)  # other containers come from outside
    assert settings["upstream"]["address"].partition(":")[0] in SERVICES


def make_certificate(folder: Path) -> None:
    require("openssl", package="openssl")
    folder.mkdir(exist_ok=True)
    said("sh", COMPOSE / "certificate.sh", folder)


def test_a_certificate_is_made_once_and_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert set(made) == {"tls.crt", "tls.key"}
    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600
    make_certificate(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == made


def test_prometheus_finds_its_configuration_and_the_rules_good(tmp_path: Path) -> None:
    program = require("promtool", package="prometheus")
    service = SERVICES["prometheus"]
    (file,) = (word.removeprefix("--config.file=") for word in service["command"] if word.startswith("--config.file="))
    shutil.copy(seen_at(service, file), tmp_path)
    (tmp_path / "alerts").symlink_to(seen_at(service, "/etc/prometheus/alerts"))
    answer = said(program, "check", "config", tmp_path / "prometheus.yml")
    assert "rule files found" in answer
    assert "0 rule files found" not in answer


def test_prometheus_asks_gatepost_where_it_answers() -> None:
    content = yaml.safe_load(seen_at(SERVICES["prometheus"], "/etc/prometheus/prometheus.yml").read_text())
    settings = tomllib.loads(seen_at(SERVICES["gatepost"], "/etc/gatepost/gatepost.toml").read_text())
    (job,) = content["scrape_configs"]
    port = settings["observe"]["bind"].rpartition(":")[2]
    assert job["static_configs"] == [{"targets": [f"gatepost:{port}"]}]


def test_postfix_knows_every_setting_it_is_given(tmp_path: Path) -> None:
    program = require("postconf", package="postfix")
    shutil.copy(COMPOSE / "main.cf", tmp_path)
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    answer = said(program, "-c", tmp_path, "-n")
    assert "warning" not in answer
    assert "smtpd_relay_restrictions = permit_sasl_authenticated, reject\n" in answer


# --- Grafana ---


def test_grafana_finds_the_dashboards_where_it_looks_for_them() -> None:
    grafana = SERVICES["grafana"]
    assert seen_at(grafana, "/etc/grafana/provisioning") == PROVISIONING
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "gatepost.yaml").read_text())["providers"]
    folder = seen_at(grafana, provider["options"]["path"])
    assert len(list(folder.glob("*.json"))) == 3
    assert seen_at(grafana, grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).exists()


def test_grafana_asks_the_prometheus_that_there_is() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "gatepost.yaml").read_text())["datasources"]
    prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert "127.0.0.1:9090:9090" in SERVICES["prometheus"]["ports"]
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


def test_whoever_reaches_grafana_may_look_and_nobody_may_log_in() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
