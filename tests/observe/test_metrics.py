"""The metrics: one table, every series from the start, closed labels."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gatepost.facts import AuthResult
from gatepost.observe.metrics import CLIENT_MECHANISMS, TABLE, Metrics
from gatepost.observe.reference import render

LISTENERS = ("submission", "mx")


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, body = metrics.exposition("")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_every_series_of_every_closed_label_is_there_at_zero_from_the_first_scrape() -> None:
    found = samples(Metrics(LISTENERS))
    for listener in LISTENERS:
        for mechanism in CLIENT_MECHANISMS:
            for result in AuthResult:
                labels = (("listener", listener), ("mechanism", mechanism.value), ("result", result.value))
                assert found["gatepost_auth_attempts_total", labels] == 0


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_each_metric_is_exposed(metric: object) -> None:
    text = Metrics(LISTENERS).exposition("")[1].decode()
    name = getattr(metric, "shown_name")  # noqa: B009  parametrize hides the type
    labels = getattr(metric, "labels")  # noqa: B009  as above
    if labels == ("file", "name"):
        assert f"# TYPE {name} " in text  # its series come with the certificates
    else:
        assert any(line.startswith((f"{name}{{", f"{name}_count", f"{name} ")) for line in text.splitlines())


def test_names_follow_the_practices_of_prometheus() -> None:
    for metric in TABLE:
        assert metric.name.startswith("gatepost_")
        assert metric.name.islower()
        assert metric.help.endswith(".")
        if "duration" in metric.name:
            assert metric.name.endswith("_seconds")


def test_the_number_of_series_is_bounded_by_the_number_of_listeners() -> None:
    one, two = (len(samples(Metrics(LISTENERS[:count]))) for count in (1, 2))
    assert two - one < 500


def test_openmetrics_is_served_when_it_is_asked_for() -> None:
    content_type, body = Metrics(LISTENERS).exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_build_and_process_are_exposed() -> None:
    text = Metrics(LISTENERS).exposition("")[1].decode()
    assert 'gatepost_build_info{openssl="OpenSSL' in text
    assert "process_resident_memory_bytes" in text


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == render(), "python -m gatepost.observe.reference > docs/metrics.md"
