"""Every alert fires when it should, is quiet when it should be, and leads to a page that helps."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatepost.observe import logs
from gatepost.observe.events import EVENTS, FIELDS
from gatepost.settings import LogFormat, LogSettings
from grafana.promql import complaints, named_in, recorded
from peers import require

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana" / "alerts" / "gatepost.rules.yaml"
TESTS = sorted((Path(__file__).parent / "rules").glob("*.test.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
INDEX = RUNBOOKS / "README.md"
PAGES = sorted(set(RUNBOOKS.glob("*.md")) - {INDEX})
BASE = "https://github.com/gatepost/gatepost/blob/main/docs/runbooks/"
SEVERITIES = {"critical", "warning", "info"}
RECORDED = "promql_expr_test"  # what promtool calls a test of an expression
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
JOURNAL = "journalctl _SYSTEMD_UNIT=gatepost.service -o cat"  # with -u, systemd's own words are among them
OF_SYSTEMD = "Started gatepost.service - gatepost.\n"

# A log in which every command of the runbooks finds something. What stands for the reader's own, as ID, is in it.
WHO = {"conversation.id": "ID", "client.address": "192.0.2.7"}
LOGGED: list[tuple[str, dict[str, Any]]] = [
    ("started", {"gatepost.conversations.limit": 400}),
    ("certificate loaded", {"file.path": "/etc/gatepost/tls.crt", "tls.server.not_after": "2031-01-01T00:00:00Z"}),
    ("certificates refused", {"gatepost.error.message": "key and certificate do not belong together"}),
    ("users refused", {"gatepost.error.message": "line 7"}),
    ("settings refused", {"gatepost.error.message": "upstream.tls: found nothing"}),
    ("upstream down", {"error.type": "unreachable"}),
    ("backend failed", {"gatepost.backend": "keys", "error.type": "timed_out"}),
    ("upstream failed", {**WHO, "error.type": "closed"}),
    ("handshake failed", {**WHO, "gatepost.leg": "client", "error.type": "not_tls"}),
    ("crashed", {**WHO, "error.type": "KeyError", "code.stacktrace": "one\ntwo"}),
    ("conversation", {**WHO, "tls.protocol.version": "1", "gatepost.tls.cipher": "AES128-SHA"}),
    ("authentication", {**WHO, "user.name": "bob", "gatepost.auth.result": "rejected", "gatepost.channel": "tls"}),
    (
        "authentication",
        {**WHO, "user.hash": "0123456789abcdef", "gatepost.channel": "clear", "gatepost.auth.exposed": True},
    ),
]

Rule = dict[str, Any]


def every(kind: str) -> list[Rule]:
    """The rules of a kind, `alert` or `record`, in their order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


ALERTS, RECORDS = every("alert"), every("record")
NAMES = {rule["alert"] for rule in ALERTS}
KNOWN = recorded({rule["record"]: rule["expr"] for rule in RECORDS})


def promtool(*arguments: str | Path) -> None:
    program = require("promtool", package="prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def tried() -> Iterator[tuple[str, list[Rule]]]:
    """Each alert that a test of promtool's asks for, and what it expects."""
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            yield from ((case["alertname"], case["exp_alerts"]) for case in test.get("alert_rule_test", ()))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """Those of the shell, each whole: up to the end of its pipe and of its quotes."""
    for block in blocks(page, "sh"):
        whole = ""
        for line in block.splitlines(keepends=True):
            whole += line
            if whole.count("'") % 2 == 0 and not whole.endswith("|\n"):
                yield whole
                whole = ""
        assert not whole


READERS = [
    pytest.param(command, id=f"{page.stem}-{command.partition('|')[2].strip()[:60]}")
    for page in [INDEX, *PAGES]
    for command in commands(page)
    if "jq " in command or (command.startswith("journalctl") and "|" in command)
]


def name_of(path: Path) -> str:
    return path.name.partition(".")[0]


# --- the rules -------------------------------------------------------------------------------------------------------


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("file", TESTS, ids=name_of)
def test_rules_do_what_they_should(file: Path) -> None:
    promtool("test", "rules", file)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on(rule: Rule) -> None:
    notes = rule["annotations"]
    assert rule["alert"].startswith("Gatepost")
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["summary"].endswith(".")
    assert "{{" not in notes["summary"]  # so that a summary is the same for all that it groups
    assert "$labels.instance" in notes["description"]
    assert notes["runbook_url"] == f"{BASE}{rule['alert']}.md"
    assert (RUNBOOKS / f"{rule['alert']}.md") in PAGES


def test_rules_of_one_alert_can_be_told_apart() -> None:
    told = [(rule["alert"], *sorted(rule["labels"].items())) for rule in ALERTS]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("rule", ALERTS + RECORDS, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_what_gatepost_has(rule: Rule) -> None:
    assert named_in(rule["expr"])
    assert complaints(rule["expr"], KNOWN) == []


def test_a_recorded_metric_is_recorded_before_it_is_used_and_in_the_same_group() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        known: set[str] = set()
        for rule in group["rules"]:
            assert {name for name in named_in(rule["expr"]) if ":" in name} <= known
            known |= {rule["record"]} if "record" in rule else set()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_alert_is_seen_firing_and_seen_quiet(name: str) -> None:
    outcomes = [expected for tried_name, expected in tried() if tried_name == name]
    assert any(outcomes)
    assert not all(outcomes)


def test_each_rule_is_seen_firing() -> None:
    seen = {(name, alert["exp_labels"]["severity"]) for name, expected in tried() for alert in expected}
    assert seen == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}


def test_every_recording_rule_is_tried() -> None:
    cases = [
        case for file in TESTS for test in yaml.safe_load(file.read_text())["tests"] for case in test.get(RECORDED, ())
    ]
    with_result = {name for case in cases if case["exp_samples"] for name in named_in(case["expr"])}
    assert with_result - {"ALERTS"} == {rule["record"] for rule in RECORDS}


# --- the runbooks ----------------------------------------------------------------------------------------------------


def test_every_runbook_belongs_to_an_alert() -> None:
    assert {page.stem for page in PAGES} == NAMES


def test_the_index_has_one_line_for_each_alert_and_its_severities() -> None:
    lines = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([^|]+) \| [^|]+ \|$", INDEX.read_text(), re.MULTILINE)
    assert [name for name, _, _ in lines] == list(dict.fromkeys(rule["alert"] for rule in ALERTS))
    for name, file, severities in lines:
        assert file == name
        of_rules = dict.fromkeys(rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name)
        assert severities.split(", ") == list(of_rules)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_runbook_has_its_four_sections(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=name_of)
def test_links_of_a_runbook_lead_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_runbook_asks_prometheus_for_is_there(page: Path, tmp_path: Path) -> None:
    queries = blocks(page, "promql")
    assert queries
    for query in queries:
        assert complaints(query, KNOWN) == []
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", file)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As gatepost writes it, and with what systemd says in between."""
    stream = io.StringIO()
    logger = logs.configure(LogSettings(format=LogFormat.JSON), stream)
    for event, fields in LOGGED:
        assert set(fields) <= set(EVENTS[event].fields)
        logger.error(event, **fields)
    logger.line.flush()
    file = tmp_path_factory.mktemp("log") / "journal"
    file.write_text(OF_SYSTEMD + stream.getvalue().replace("\n", "\n" + OF_SYSTEMD))
    return file


@pytest.mark.parametrize("command", READERS)
def test_what_a_runbook_asks_the_log_for_is_there(command: str) -> None:
    events = re.findall(r'\.event == "([^"]+)"', command)
    assert events or "jq " not in command
    fields = {field for event in events for field in EVENTS[event].fields}
    named = set(re.findall(r'\.\["([^"]+)"\]', command))
    assert named <= fields
    assert named <= set(FIELDS)


@pytest.mark.parametrize("command", READERS)
def test_what_a_runbook_asks_the_log_for_is_found(command: str, log: Path) -> None:
    require("jq", package="jq")
    journal, pipe, rest = command.partition("|")
    assert re.fullmatch(rf"{JOURNAL}( --since -\d+(min|h|d))? ", journal)
    script = f"set -o pipefail; cat {log} {pipe} {rest}"
    done = subprocess.run(
        [require("bash", package="bash"), "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("null", "").strip(' 1\n[],"')  # something, and not nothing counted
    assert OF_SYSTEMD not in done.stdout
