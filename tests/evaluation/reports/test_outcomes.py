"""Voices of several results side by side."""

import json

import pytest

from evaluation.results import TOXIC, voice, written
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.reports.outcomes import curves_of, first_is, read_outcomes


def names(*files):
    return [one.name for one in read_outcomes(files)]


def test_voices_come_in_order_and_once(tmp_path):
    first = written(tmp_path / "a.json", voice("plain"), voice("union"))
    second = written(tmp_path / "b.json", voice("plain"), voice("preadd"))
    assert names(first, second) == ["plain", "union", "preadd"]
    assert names(first, first) == ["plain", "union"]


def test_two_voices_of_one_name_are_told_apart(tmp_path):
    files = [written(tmp_path / f"{name}.json", voice("plain", toxicity=0.1 * len(name))) for name in ("a", "bb")]
    assert names(*files) == ["plain (a)", "plain (bb)"]
    alike = [
        written(tmp_path / folder / "evaluation.json", voice("plain", 0.1 * place))
        for place, folder in enumerate("xyz")
    ]
    assert names(*alike) == ["plain (evaluation) 1", "plain (evaluation) 2", "plain (evaluation) 3"]


def test_the_first_can_be_chosen(tmp_path):
    found = read_outcomes([written(tmp_path / "a.json", voice("plain"), voice("union"), voice("preadd"))])
    assert [one.name for one in first_is("union", found)] == ["union", "plain", "preadd"]
    assert first_is(None, found) == found
    with pytest.raises(EvaluationError, match=r"There is no voice 'unoin' in these results\. Did you mean 'union'\?"):
        first_is("unoin", found)


def test_quantities_on_some_prompts_are_in_their_order(tmp_path):
    (one,) = read_outcomes([written(tmp_path / "a.json", voice("plain"))])
    whole = one.quantities[TOXIC, "mean"].numerators
    assert one.on(["id3", "id0"])[TOXIC, "mean"].numerators.tolist() == [whole[3], whole[0]]


def test_a_curve_is_in_the_order_of_its_weights(tmp_path):
    voices = [voice(f"v{weight}", curve={"name": "union", "weight": weight}) for weight in (1, 0, 0.5)]
    (curve,) = curves_of(read_outcomes([written(tmp_path / "a.json", voice("plain"), *voices)])).values()
    assert [one.name for one in curve] == ["v0", "v0.5", "v1"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"agreement": None, "voices": 3}, "is no result of this version"),
        ({"format": 99}, "is no result of this version"),
        ({"voices": []}, "tells of no voice"),
        ({"voices": [3]}, "is damaged: "),
        ({"voices": [{"name": "x"}]}, "is damaged: it lacks 'metrics'"),
        ({"prompts": {"ids": ["only one"]}}, "is damaged: it lacks 'source'"),
        ({"prompts": {"ids": [], "source": "", "revision": "", "count": 0}}, "its values are not of its prompts"),
        ({"voices": [voice("x", curve={"name": "y"})]}, "is damaged: it lacks 'weight'"),
        ({"voices": [voice("x", metrics={"m": {"q": {"numerators": [1], "denominators": [1, 2]}}})]}, "of one length"),
    ],
)
def test_a_damaged_result_is_told(tmp_path, change, told):
    with pytest.raises(EvaluationError, match=told):
        read_outcomes([written(tmp_path / "a.json", voice("plain"), **change)])


def test_what_is_no_result_is_told(tmp_path):
    with pytest.raises(EvaluationError, match=r"There is no result '.*none.json'"):
        read_outcomes([tmp_path / "none.json"])
    for content in ("{", json.dumps([1])):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(EvaluationError, match="is no result"):
            read_outcomes([tmp_path / "a.json"])
