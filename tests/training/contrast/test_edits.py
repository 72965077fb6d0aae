"""Measures of edited facts by voices whose every answer is known."""

import json

import pytest

import lmalgebra as la
from lmalgebra.errors import TrainingError
from lmalgebra.training.contrast.edits import measure_edits, read_edits


def voice(folder, name, **likely):
    """Says these letters with these weights, whatever came before."""
    names = ["a", "b", "c", "d", "<end>"]
    row = [likely.get(letter, 0.05) for letter in names]
    table = {"pieces": names, "end": "<end>", "order": 0, "rows": {"": [each / sum(row) for each in row]}}
    (folder / f"{name}.json").write_text(json.dumps(table))
    return la.voice(la.model(str(folder / f"{name}.json")).term(prefix="", name=name))


EDITS = [
    {
        "prompt": "a",
        "new": "b",
        "old": "c",
        "paraphrases": ["d", "ad"],
        "unrelated": [{"prompt": "d", "answer": "a", "other": "d"}],
    },
    {"prompt": "c", "new": "a", "old": "b", "unrelated": [{"prompt": "b", "answer": "d", "other": "b"}]},
]


def test_the_measures_by_hand(tmp_path):
    (tmp_path / "edits.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in EDITS))
    edits = read_edits(str(tmp_path / "edits.jsonl"))
    before = voice(tmp_path, "before", a=0.4, b=0.2, c=0.2, d=0.3)
    after = voice(tmp_path, "after", a=0.4, b=0.8, c=0.2, d=0.3)
    found = measure_edits(edits, after, before)
    assert found["efficacy"] == 0.5  # b above c, a not above b
    assert found["efficacy_margin"] == pytest.approx((1.386294 - 0.693147) / 2, abs=1e-5)
    assert (found["generalisation"], found["generalisation_margin"]) == (1, pytest.approx(1.386294, abs=1e-5))
    assert found["locality"] == 0.5  # a stays above d, d falls below b
    assert found["locality_change"] == pytest.approx(0.419854, abs=1e-5)  # log(1.75 / 1.15): all others lose alike
    assert measure_edits(edits, before, before)["locality"] == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "holds no edit"),
        ("[]", "line 1: this is no object"),
        ('{"prompt": "a", "new": "b"}', "line 1: 'old' is None, which is no text"),
        ('{"prompt": "a", "new": "b", "old": "c", "paraphrases": [""]}', "line 1: 'paraphrases' is no list"),
        ('{"prompt": "a", "new": "b", "old": "c", "unrelated": [{"prompt": "a"}]}', "line 1: 'answer' is None"),
    ],
)
def test_what_is_no_edit_is_said_with_its_line(tmp_path, line, sentence):
    (tmp_path / "edits.jsonl").write_text(line)
    with pytest.raises(TrainingError, match=sentence):
        read_edits(str(tmp_path / "edits.jsonl"))
