"""The values of all metrics, and how Prometheus gets them."""

from __future__ import annotations

import platform
import ssl
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as CollectedMetric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gatepost import __version__
from gatepost.observe.table import BY_NAME, TABLE, Kind, Metric, Values

END = b"# EOF\n"  # of OpenMetrics
PIECE = 200  # values that are made text at a time, which takes about two milliseconds


@dataclass(frozen=True, slots=True)
class Histogram:
    """One series of a histogram: where its buckets begin, the last of which is unbounded; behind them is the sum."""

    first: int
    bounds: tuple[float, ...]


class Metrics:
    """The values of all series, each at a place of its own in one array, and how they are exposed.

    Not the counters of the Prometheus client: with a lock and several objects for each series those took three times
    the CPU (docs/decisions/0013). `named` has the names that the settings give, by their labels.
    """

    def __init__(self, named: Mapping[str, Sequence[str]]) -> None:
        self._values: list[float] = []
        self._exemplars: dict[int, Exemplar] = {}
        self._series: dict[str, dict[Values, int]] = {metric.name: {} for metric in TABLE}
        for metric in TABLE:
            for labels in metric.series(named):
                self._make_place(metric, labels)
        self._process = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)
        build = Info("gatepost_build", "What is running.", registry=self._process)
        build.info({"version": __version__, "python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION})

    def _make_place(self, metric: Metric, labels: Values) -> None:
        self._series[metric.name][labels] = len(self._values)
        self._values += [0.0] * metric.places

    # --- counting

    def place(self, name: str, *labels: str) -> int:
        """Where a series is, to be kept: looking it up by labels costs more than counting."""
        return self._series[name][labels]

    def histogram(self, name: str, *labels: str) -> Histogram:
        return Histogram(self._series[name][labels], BY_NAME[name].buckets)

    def add(self, place: int, amount: float = 1.0) -> None:
        self._values[place] += amount

    def observe(self, histogram: Histogram, value: float) -> None:
        bounds, first, values = histogram.bounds, histogram.first, self._values
        values[first + bisect_left(bounds, value)] += 1.0
        values[first + len(bounds) + 1] += value

    def add_for(self, conversation: str, place: int) -> None:
        """One more, with the conversation as its exemplar."""
        self._values[place] += 1.0
        self._exemplars[place] = Exemplar({"conversation_id": conversation}, 1.0, time.time())

    def observe_for(self, conversation: str, histogram: Histogram, value: float) -> None:
        self.observe(histogram, value)
        bucket = histogram.first + bisect_left(histogram.bounds, value)
        self._exemplars[bucket] = Exemplar({"conversation_id": conversation}, value, time.time())

    def set(self, name: str, value: float, *labels: str) -> None:
        """What a gauge stands at, or a counter that is kept elsewhere. Labels that are not closed begin a series."""
        series, shown = self._series[name], _printable(labels)
        if shown not in series:
            self._make_place(BY_NAME[name], shown)
        self._values[series[shown]] = value

    def forget(self, name: str, *labels: str) -> None:
        """End a series of labels that are not closed."""
        del self._series[name][_printable(labels)]

    # --- telling

    def values(self, name: str) -> dict[Values, float]:
        """What a counter or a gauge stands at, by the values of its labels."""
        return {labels: self._values[place] for labels, place in self._series[name].items()}

    def exposition(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Content type and body, in the form that an Accept header asks for.

        The body comes in pieces, each made when it is asked for, so that nobody has to wait for all of it.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # the library compares a version that is not a number, "version=abc", with one that is
            encode, content_type = choose_encoder("")
        return content_type, self._pieces(encode)

    def _pieces(self, encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
        for metric in TABLE:
            series = list(self._series[metric.name].items())
            for begin in range(0, len(series) or 1, PIECE // metric.places):
                text = encode(Collected(self._family(metric, series[begin : begin + PIECE // metric.places])))
                yield _body(text) if begin else text.removesuffix(END)
        yield encode(self._process)  # with the end, if this form has one

    def _family(self, metric: Metric, series: list[tuple[Values, int]]) -> CollectedMetric:
        values, exemplars = self._values, self._exemplars
        names = list(metric.labels)
        if metric.kind is Kind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=names)
            for labels, place in series:
                counter.add_metric(labels, values[place], exemplar=exemplars.get(place))
            return counter
        if metric.kind is Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=names)
            for labels, place in series:
                gauge.add_metric(labels, values[place])
            return gauge
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
        for labels, place in series:
            histogram.add_metric(labels, self._buckets(metric, place), values[place + len(metric.buckets) + 1])
        return histogram

    def _buckets(self, metric: Metric, first: int) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Each with all that are smaller, as Prometheus has them."""
        bounds = (*map(floatToGoString, metric.buckets), "+Inf")
        totals = accumulate(self._values[first : first + len(bounds)])
        exemplars = map(self._exemplars.get, range(first, first + len(bounds)))
        return [
            (bound, total) if exemplar is None else (bound, total, exemplar)
            for bound, total, exemplar in zip(bounds, totals, exemplars, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Collected:
    """One family, as the library's encoders take it."""

    family: CollectedMetric

    def collect(self) -> Iterator[CollectedMetric]:
        yield self.family


def _printable(labels: Values) -> Values:
    """The name of a file need not be UTF-8."""
    return tuple(label.encode(errors="replace").decode() for label in labels)


def _body(text: bytes) -> bytes:
    """Without the comments around it: a family has them once."""
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
