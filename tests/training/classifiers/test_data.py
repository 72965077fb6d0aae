"""Examples from JSON Lines: what is taken, what is held out, and one sentence for each thing that is wrong."""

import json
from collections import Counter

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.training.classifiers.data import Examples, read_examples, split
from lmalgebra.training.classifiers.settings import ClassifierSettings


def examples(tmp_path, *lines: object, **changes) -> Examples:
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    chosen = {"score": "score"} if "label" not in changes else {}
    return read_examples(ClassifierSettings(**{"data": str(file), "model": "m", "output": "o"} | chosen | changes))


def test_scores_and_their_texts(tmp_path):
    found = examples(tmp_path, {"text": "a", "score": 0}, "", {"text": "b", "score": 0.25, "other": []}, name="toxic")
    assert found == Examples(("a", "b"), (0.0, 0.25), (0, 1), ("toxic",))


def test_several_texts_of_a_line_belong_together(tmp_path):
    lines = [{"q": "a", "a": "b", "qs": 1, "as": 0.5}, {"q": "c", "a": "d", "qs": 0, "as": None}]
    found = examples(tmp_path, *lines, text=("q", "a"), score=("qs", "as"))
    assert found == Examples(("a", "b", "c"), (1.0, 0.5, 0.0), (0, 0, 1), ("yes",), unknown=1)


def test_a_pair_is_of_one_line(tmp_path):
    line = {"context": "c", "text": "a", "score": 1}
    assert examples(tmp_path, line, line, pair="context").texts == (("c", "a"), ("c", "a"))
    with pytest.raises(TrainingError, match="there is no field 'context'"):
        examples(tmp_path, {"text": "a", "score": 1}, pair="context")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["sad", "glad", "sad", "glad"], ("glad", "sad")),
        ([10, 9, 10, 9], ("9", "10")),
        ([True, False, True, False], ("false", "true")),
    ],
)
def test_labels_are_text_whole_numbers_or_truth(tmp_path, values, labels):
    found = examples(tmp_path, *({"text": "a", "label": value} for value in values), label="label")
    assert found.labels == labels
    assert [found.labels[int(target)] for target in found.targets] == [str(value).lower() for value in values]


LINE = {"text": "a", "score": 0.5}
NO_JSON = "this is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))."
NO_TEXT = "which is no text. Mend or remove the line."
NO_SCORE = "which is no score from 0 to 1. Mend or remove the line."
NO_LABEL = "which is no label. A label is text, a whole number, true or false; for other numbers use score."
ALONE = "occurs nowhere else. Each label needs two examples or more: mend it, or add data."


@pytest.mark.parametrize(
    ("lines", "changes", "sentence"),
    [
        ([LINE, "{"], {}, f"line 2: {NO_JSON}"),
        ([LINE, "[1]"], {}, "line 2: this is no object."),
        ([{"score": 1}], {}, "line 1: there is no field 'text'. Its fields are: score."),
        ([LINE, {"text": "a"}], {}, "line 2: there is no field 'score'. Its fields are: text."),
        ([{"text": 3, "score": 1}], {}, f"line 1: 'text' is 3, {NO_TEXT}"),
        ([{"text": " ", "score": 1}], {}, f"line 1: 'text' is \" \", {NO_TEXT}"),
        ([LINE, "", {"text": "a", "score": 1.5}], {}, f"line 3: 'score' is 1.5, {NO_SCORE}"),
        ([{"text": "a", "score": True}], {}, f"line 1: 'score' is true, {NO_SCORE}"),
        ([{"text": "a", "score": "0.5"}], {}, f"line 1: 'score' is \"0.5\", {NO_SCORE}"),
        ([{"text": "a", "score": 0.5}], {"label": "score"}, f"line 1: 'score' is 0.5, {NO_LABEL}"),
        ([{"text": "a", "l": each} for each in "xxy"], {"label": "l"}, f"line 3: the label 'y' {ALONE}"),
    ],
)
def test_a_bad_line_is_named(tmp_path, lines, changes, sentence):
    with pytest.raises(TrainingError) as refusal:
        examples(tmp_path, *lines, **changes)
    hint = ' A line is an object such as {"text": "...", "label": "..."}.'
    assert str(refusal.value) in (f"{tmp_path}/data.jsonl, {sentence}", f"{tmp_path}/data.jsonl, {sentence}{hint}")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "there is no example."),
        ([{"text": "a", "score": None}], "there is no example."),
    ],
)
def test_data_without_examples(tmp_path, lines, sentence):
    with pytest.raises(TrainingError, match=rf"data.jsonl: {sentence}"):
        examples(tmp_path, *lines)


def test_data_of_one_label(tmp_path):
    with pytest.raises(TrainingError) as refusal:
        examples(tmp_path, *[{"text": "a", "label": "x"}] * 3, label="label")
    assert str(refusal.value) == "All examples have the label 'x'. Add examples of another."


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TrainingError, match=r"There is no file of examples '.*none.jsonl'. Check the path."):
        examples(tmp_path, data=str(tmp_path / "none.jsonl"))
    with pytest.raises(TrainingError, match=r"cannot be read: Is a directory"):
        examples(tmp_path, data=str(tmp_path))
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe9"}')
    with pytest.raises(TrainingError, match=r"latin.jsonl, line 1: this is not UTF-8 text."):
        examples(tmp_path, data=str(tmp_path / "latin.jsonl"))


def numbered(count: int, labels: int = 1) -> Examples:
    texts = tuple(str(place) for place in range(count))
    targets = tuple(float(place % labels) for place in range(count))
    return Examples(texts, targets, tuple(place // 2 for place in range(count)), tuple(map(str, range(labels))))


def test_lines_are_held_out_whole_and_as_the_seed_says():
    kept, held_out = split(numbered(100), 0.2, seed=1)
    assert (len(kept), len(held_out)) == (80, 20)
    assert not set(kept.lines) & set(held_out.lines)
    assert split(numbered(100), 0.2, seed=1) == (kept, held_out)
    assert split(numbered(100), 0.2, seed=2) != (kept, held_out)


@pytest.mark.parametrize("seed", range(5))
def test_no_label_is_held_out_to_its_last_example(seed):
    data = Examples(tuple("abcdef"), (0.0, 0.0, 1.0, 1.0, 2.0, 2.0), tuple(range(6)), ("a", "b", "c"))
    kept, held_out = split(data, 0.9, seed)
    assert Counter(kept.targets) == Counter(held_out.targets) == {0.0: 1, 1.0: 1, 2.0: 1}


def test_too_little_to_split():
    with pytest.raises(TrainingError, match="2 examples on 1 lines leave nothing to train on or nothing to hold out"):
        split(numbered(2), 0.1, seed=0)
