"""A real Prometheus: it scrapes one gatepost each second, evaluates gatepost's rules, and answers PromQL.

Its API: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from processes import PATIENCE_SECONDS, free_port, running, until

SCRAPE_SECONDS = 1  # a whole night passes in a minute, so its hours do in a few seconds

Labels = Mapping[str, str]


class Refused(Exception):
    """Prometheus answered with an error, or with a warning."""


@dataclass(frozen=True, slots=True)
class Series:
    """Labels, and values by their times; of an instant query there is one. The values that are no number are NaN."""

    labels: Labels
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        return self.points[-1][1]


class Prometheus:
    """The API of a running one."""

    def __init__(self, client: httpx.Client, log: Path) -> None:
        self._client = client
        self.log = log

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """The value now, or at a time."""
        parameters: dict[str, str | float] = {"query": expression}
        if at is not None:
            parameters["time"] = at
        data = self._get("query", parameters)
        if data["resultType"] == "scalar":
            return [_series({"metric": {}, "values": [data["result"]]})]
        return [_series({**each, "values": [each["value"]]}) for each in data["result"]]

    def query_range(self, expression: str, span: tuple[float, float], step: float) -> list[Series]:
        began, ended = span
        parameters: dict[str, str | float] = {"query": expression, "start": began, "end": ended, "step": step}
        return [_series(each) for each in self._get("query_range", parameters)["result"]]

    def number(self, expression: str) -> float:
        """The value now of an expression with one series; NaN while there is none."""
        answer = self.query(expression)
        return answer[0].last if answer else float("nan")

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, alerting and recording, with its health."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def scraped(self) -> float:
        """When the last scrape was."""
        return self.number("timestamp(up)")

    def await_scrape(self) -> None:
        """Return when gatepost was scraped anew; what it counted before is known then."""
        before = self.scraped()
        until(lambda: self.scraped() > before, "a scrape")

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def _get(self, path: str, parameters: Mapping[str, str | float]) -> Any:  # noqa: ANN401  JSON
        answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        if answer["status"] != "success" or answer.get("warnings"):
            raise Refused(f"{parameters}: {answer.get('error') or answer['warnings']}")
        return answer["data"]


def _series(answer: Mapping[str, Any]) -> Series:
    return Series(answer["metric"], tuple((float(when), float(value)) for when, value in answer["values"]))


@contextmanager
def prometheus(program: str, folder: Path, target: str, rules: Sequence[Path]) -> Iterator[Prometheus]:
    """Run it on an empty folder until the end of the block."""
    port, log = free_port(), folder / "prometheus.log"
    configuration = folder / "prometheus.yml"
    configuration.write_text(json.dumps(_configuration(target, rules)))  # JSON is YAML
    command = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, log) as process, httpx.Client(base_url=_url(port), timeout=PATIENCE_SECONDS) as client:
        made = Prometheus(client, log)
        until(lambda: process.poll() is not None or made.is_ready(), "Prometheus")
        if process.poll() is not None:
            raise Refused(log.read_text())
        until(lambda: made.number("up") == 1, "the first scrape")
        yield made


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _configuration(target: str, rules: Sequence[Path]) -> dict[str, Any]:
    every = f"{SCRAPE_SECONDS}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "gatepost", "static_configs": [{"targets": [target]}]}],
    }
