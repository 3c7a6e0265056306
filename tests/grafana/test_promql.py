"""The reader of PromQL finds every name, and nothing else."""

from __future__ import annotations

import pytest

from grafana.promql import Matcher, complaints, grouped_in, named_in, recorded


def test_it_finds_metrics_and_not_functions_keywords_numbers_or_durations() -> None:
    expression = """
        histogram_quantile(0.99, sum without (le, leg) (rate(a_bucket[10m] offset 1h))) > 1e3
        and on (job, instance) b_total unless avg by (x) (level:c:rate5m) <= 3 * inf or absent(up) == bool 1
    """
    assert set(named_in(expression)) == {"a_bucket", "b_total", "level:c:rate5m", "up"}
    assert grouped_in(expression) == {"le", "leg", "job", "instance", "x"}


def test_it_finds_the_conditions_on_every_use_of_a_metric() -> None:
    named = named_in('a_total{result="accepted", leg!~"client|upstream"} / ignoring (result) a_total {code="}"} > b')
    assert named == {
        "a_total": [
            Matcher("result", "=", "accepted"),
            Matcher("leg", "!~", "client|upstream"),
            Matcher("code", "=", "}"),
        ],
        "b": [],
    }


def test_it_passes_over_strings_and_variables_of_grafana() -> None:
    named = named_in('label_replace(rate(a_total{listener=~"$listener"}[$__rate_interval]), "leg", "$1", "b", "(.*)")')
    assert named == {"a_total": [Matcher("listener", "=~", "$listener")]}
    assert set(named_in("rate(a_total[${window}])")) == {"a_total"}


def test_a_regular_expression_is_a_list_of_values() -> None:
    assert named_in('a{version=~"TLSv1|TLSv1\\\\.1"}')["a"][0].values == ("TLSv1", "TLSv1.1")
    assert Matcher("version", "!=", "a|b").values == ("a|b",)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("rate(gatepost_auth_attempt_total[5m])", "no metric gatepost_auth_attempt_total"),
        ("gatepost_auth_attempts", "no metric gatepost_auth_attempts"),
        ('gatepost_auth_attempts_total{phase="tls_fresh"}', "no label phase of gatepost_auth_attempts_total"),
        ('gatepost_auth_attempts_total{result=~"accepted|good"}', "no result good of gatepost_auth_attempts_total"),
        ('gatepost_auth_attempts_by_network_total{network="moon"}', "no network moon of gatepost_auth_attempts"),
        ("sum by (mechanisms) (gatepost_auth_attempts_total)", "no label mechanisms"),
        ('gatepost_users{le="1"}', "no label le of gatepost_users"),
    ],
)
def test_what_gatepost_does_not_have_is_complained_of(expression: str, complaint: str) -> None:
    (said,) = complaints(expression)
    assert said.startswith(complaint)


def test_what_gatepost_has_is_not_complained_of() -> None:
    assert complaints('sum without (listener) (gatepost_auth_attempts_total{listener="a", job!="b"})') == []
    assert complaints("histogram_quantile(0.5, sum by (le) (gatepost_event_loop_lag_seconds_bucket))") == []
    assert complaints("gatepost_build_info * on (instance) group_left up") == []


def test_a_recorded_metric_has_the_labels_of_what_it_is_made_from() -> None:
    known = recorded({"instance:a:rate5m": "rate(gatepost_messages_total[5m])", "instance:b:max": "instance:a:rate5m"})
    assert complaints('instance:b:max{result="accepted"}', known) == []
    assert complaints('instance:b:max{result="eaten"}', known) == ["no result eaten of instance:b:max"]
