"""The metrics: one table, every series from the start, closed labels."""

from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gatepost.facts import AuthResult
from gatepost.observe.metrics import PIECE, Metrics
from gatepost.observe.reference import render_metrics
from gatepost.observe.table import CLIENT_MECHANISMS, OPEN, TABLE, Metric

NAMED = {"listener": ("submission", "mx"), "network": ("office", "public")}


def text_of(metrics: Metrics, accept: str = "") -> str:
    return b"".join(metrics.exposition(accept)[1]).decode()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text_of(metrics))
        for sample in family.samples
    }


def test_every_series_of_every_closed_label_is_there_at_zero_from_the_first_scrape() -> None:
    found = samples(Metrics(NAMED))
    for listener in NAMED["listener"]:
        for mechanism in CLIENT_MECHANISMS:
            for result in AuthResult:
                channel = "clear" if result is AuthResult.CLEAR_REFUSED else "tls"
                labels = {
                    "listener": listener,
                    "mechanism": mechanism.value,
                    "channel": channel,
                    "result": result.value,
                }
                assert found["gatepost_auth_attempts_total", tuple(sorted(labels.items()))] == 0


def test_what_cannot_be_has_no_series() -> None:
    found = [dict(labels) for name, labels in samples(Metrics(NAMED)) if name == "gatepost_tls_handshakes_total"]
    assert {labels["cipher"] for labels in found if labels["version"] == "TLSv1.3"} == {"aead"}
    assert {labels["cipher"] for labels in found if labels["version"] == "TLSv1"} == {"cbc", "static_key", "weak"}


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_each_metric_is_exposed(metric: Metric) -> None:
    text = text_of(Metrics(NAMED))
    if OPEN in metric.labels.values():
        assert f"# TYPE {metric.shown_name} " in text  # its series come with the certificates
    else:
        starts = (f"{metric.shown_name}{{", f"{metric.name}_count", f"{metric.shown_name} ")
        assert any(line.startswith(starts) for line in text.splitlines())


def test_names_follow_the_practices_of_prometheus() -> None:
    for metric in TABLE:
        assert metric.name.startswith("gatepost_")
        assert metric.name.islower()
        assert metric.help.endswith(".")
        if "duration" in metric.name:
            assert metric.name.endswith("_seconds")


def test_the_reference_page_states_the_number_of_series() -> None:
    """As many as a scrape has: the page counts by the table, this by what is served."""
    named = {"listener": ("one", "two"), "network": ("loopback", "private", "public")}
    served = [
        name for name, _ in samples(Metrics(named)) if name.startswith("gatepost_") and name != "gatepost_build_info"
    ]
    assert f"With two listeners: {len(served):,}." in render_metrics()


def test_openmetrics_is_served_when_it_is_asked_for_and_ends_once() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    assert Metrics(NAMED).exposition(accept)[0].startswith("application/openmetrics-text")
    text = text_of(Metrics(NAMED), accept)
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # it has no types
    assert {family.name for family in families} >= {m.name for m in TABLE}


def test_build_and_process_are_exposed() -> None:
    text = text_of(Metrics(NAMED))
    assert 'gatepost_build_info{openssl="OpenSSL' in text
    assert "process_resident_memory_bytes" in text


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == render_metrics(), "python -m gatepost.observe.reference metrics > docs/metrics.md"


def test_a_histogram_has_what_was_measured_in_its_buckets() -> None:
    metrics = Metrics(NAMED)
    histogram = metrics.histogram("gatepost_upstream_connect_duration_seconds")
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        metrics.observe(histogram, seconds)
    found = {(name, dict(labels).get("le")): value for (name, labels), value in samples(metrics).items()}
    name = "gatepost_upstream_connect_duration_seconds"
    buckets = {le: found[f"{name}_bucket", le] for le in ("0.001", "0.0025", "0.25", "0.5", "30.0", "+Inf")}
    assert buckets == {"0.001": 2, "0.0025": 2, "0.25": 2, "0.5": 3, "30.0": 3, "+Inf": 4}
    assert found[f"{name}_count", None] == 4
    assert found[f"{name}_sum", None] == pytest.approx(99.3015)


def test_a_family_that_comes_in_pieces_is_told_once() -> None:
    listeners = [f"listener-{number}" for number in range(9)]
    text = text_of(Metrics(NAMED | {"listener": listeners}))
    lines = text.splitlines()
    assert sum(line.startswith("gatepost_auth_attempts_total{") for line in lines) > PIECE
    assert sum(line.startswith("# TYPE gatepost_auth_attempts_total ") for line in lines) == 1


def test_a_series_of_the_operators_words_comes_and_goes() -> None:
    metrics, name = Metrics(NAMED), "gatepost_certificate_not_after_timestamp_seconds"
    metrics.set(name, 1.0, "client", "a.pem", "a.example")
    metrics.set(name, 2.0, "client", "b.pem", "b.example")
    metrics.forget(name, "client", "a.pem", "a.example")
    metrics.set(name, 3.0, "client", "b.pem", "b.example")
    assert metrics.values(name) == {("client", "b.pem", "b.example"): 3.0}
