"""What a token costs: who speaks, how often, and against what."""

import pytest

import lmalgebra as la
from lmalgebra.algebra import GenerationSettings
from lmalgebra.evaluation.cost import ROUNDS, costs

MODEL = la.model("toy")
BASE, OTHER = MODEL.term(name="base", prefix=""), MODEL.term(name="other", prefix="x")


@pytest.fixture
def ticking(monkeypatch):
    """A clock by which every look takes a second, so that a voice's time is its calls'."""
    now = iter(range(1 << 20))
    monkeypatch.setattr("lmalgebra.evaluation.cost.perf_counter", lambda: float(next(now)))


def test_each_voice_is_timed_beside_its_first_model_alone(ticking):
    voices = {"base": la.voice(BASE), "sum": la.voice(BASE + 0.5 * (OTHER - BASE))}
    settings = GenerationSettings(max_new_tokens=8, min_new_tokens=8, samples=3)
    found = costs(voices, ["a", "b", "c", "d", "e"], settings)
    told = {"seconds_per_token": round(1 / (4 * 3 * 8), 6), "relative": 1.0, "samples": 12, "rounds": ROUNDS}
    assert found == dict.fromkeys(voices, told)
