"""What Prometheus is told: requests, tokens and latency by voice, and what speculation does for each."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lmalgebra.serving.engine import Engine, Run
from lmalgebra.serving.voices import Voices

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)


class Metrics:
    """The numbers of one server. Labels have only names that the operator has given, so there are never many."""

    def __init__(self, voices: Voices, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self._requests = Counter(
            "lmalgebra_requests", "Requests that were answered.", ("route", "voice", "status"), **own
        )
        self._seconds = Histogram(
            "lmalgebra_request_seconds", "From a request to the end of its answer.", ("voice",), buckets=_SECONDS, **own
        )
        self._first = Histogram(
            "lmalgebra_first_text_seconds", "From a request to its first text.", ("voice",), buckets=_SECONDS, **own
        )
        self._read = Counter("lmalgebra_prompt_tokens", "Tokens of prompts, by the first term.", ("voice",), **own)
        self._said = Counter("lmalgebra_generated_tokens", "Tokens drawn and told.", ("voice",), **own)
        self._cancelled = Counter("lmalgebra_cancelled", "Requests whose client left.", ("voice",), **own)
        self._refused = Counter("lmalgebra_refused_keys", "Requests with no key or a wrong one.", **own)
        self.reloads = Counter("lmalgebra_reloads", "Voices that were opened again, or are gone.", **own)
        Gauge("lmalgebra_requests_in_hand", "Requests not answered yet.", **own).set_function(lambda: engine.in_hand)
        Gauge("lmalgebra_requests_waiting", "Requests without rows yet.", **own).set_function(
            lambda: engine.service.waiting
        )
        self.registry.register(_Speculation(voices))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)

    def first_text(self, voice: str, seconds: float) -> None:
        """A request's first text has come."""
        self._first.labels(voice).observe(seconds)

    def spoke(self, run: Run, tokens: int) -> None:
        """A request is done, or was given up, after so many tokens were told."""
        name = run.prepared.served.name
        self._read.labels(name).inc(sum(run.prompt_tokens))
        self._said.labels(name).inc(tokens)

    def answered(self, route: str, voice: str, status: int, seconds: float, left: bool) -> None:
        """A request is answered, or its client has `left`."""
        self._requests.labels(route, voice, str(status)).inc()
        if voice:
            self._seconds.labels(voice).observe(seconds)
            self._cancelled.labels(voice).inc(left)

    def key_refused(self) -> None:
        """A request came without a known key."""
        self._refused.inc()


class _Speculation(Collector):
    """What the voices' formulas have counted themselves, when it is asked for."""

    def __init__(self, voices: Voices) -> None:
        self._voices = voices

    def collect(self) -> Iterator[Metric]:
        """Tokens, passes, acceptance and calls per token; of formulas of requests, only while they are kept."""
        passes = CounterMetricFamily("lmalgebra_formula_passes", "Judgements of the own formula.", labels=("voice",))
        calls = GaugeMetricFamily(
            "lmalgebra_calls_per_token", "Calls of a term for each token of the own formula.", labels=("voice", "term")
        )
        accepted = GaugeMetricFamily(
            "lmalgebra_acceptance", "Share of drafted tokens that was kept.", labels=("voice", "pair")
        )
        for served in self._voices.all:
            try:
                report = served.composed.speculation
            except RuntimeError:  # its counters grew meanwhile; the next time will do
                continue
            passes.add_metric((served.name,), report.passes)
            for term, count in report.calls.items():
                calls.add_metric((served.name, term), count)
            for pair, rate in report.acceptance.items():
                accepted.add_metric((served.name, pair), rate)
        yield from (passes, calls, accepted)
