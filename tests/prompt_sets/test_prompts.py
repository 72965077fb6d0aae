"""Prompts from files: what is read, what is refused, and what a draw of them is."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.prompt_sets.reading import load_prompts
from lmalgebra.prompt_sets.rows import plain_prompt

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.fixture
def load(tmp_path):
    def from_lines(*lines):
        file = tmp_path / "prompts.jsonl"
        file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return load_prompts(str(file), plain_prompt)

    return from_lines


def test_texts_objects_conversations_and_the_hubs_form(load):
    found = load(
        '"plain"',
        {"prompt": "with fields", "prompt_toxicity": 0.25},
        "",
        {"prompt": CHAT},
        {"prompt": {"text": "nested", "toxicity": 0.75}, "challenging": False},
    )
    assert [item.prompt for item in found.items] == ["plain", "with fields", CHAT, "nested"]
    assert found.items[1].fields == {"prompt_toxicity": 0.25}
    assert found.items[3].fields == {"challenging": False, "prompt_toxicity": 0.75}


def test_the_revision_is_the_content(load):
    assert load('"a"').revision == load('"a"').revision != load('"b"').revision


def test_each_prompt_counts_once_and_the_first_stays(load):
    found = load({"prompt": "a", "n": 1}, '"b"', {"prompt": "a", "n": 2})
    assert [(item.prompt, dict(item.fields)) for item in found.items] == [("a", {"n": 1}), ("b", {})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: this is not JSON"),
        ("7", "line 2: this is neither a text nor an object"),
        ({"text": "x", "n": 1}, "line 2: there is no field 'prompt'. Its fields are: text, n."),
        ({"prompt": 7}, "line 2: 'prompt' is 7, which is not what is needed"),
        ({"prompt": ""}, "line 2: 'prompt' is \"\""),
        ('""', "line 2: 'prompt' is \"\""),
        ({"prompt": []}, r"line 2: 'prompt' is \[\]"),
        ({"prompt": {"toxicity": 1}}, "line 2: there is no field 'text'"),
        ({"prompt": [{"role": "user"}]}, "line 2: .*is not a message"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "line 2: The last message of a conversation"),
    ],
)
def test_a_bad_line_is_named(load, line, message):
    with pytest.raises(EvaluationError, match=f"prompts.jsonl, {message}"):
        load('"fine"', line)


def test_no_prompts_and_no_file(load, tmp_path):
    with pytest.raises(EvaluationError, match=r"prompts.jsonl holds no prompt. A line is"):
        load("", " ")
    with pytest.raises(EvaluationError, match="There is no file of prompts"):
        load_prompts(str(tmp_path / "none.jsonl"), plain_prompt)


def test_a_smaller_draw_is_a_part_of_a_larger_one(load):
    found = load(*[json.dumps(f"prompt {number}") for number in range(50)])
    draws = [[item.prompt for item in found.sample(count, 3).items] for count in (5, 20, 50, 70)]
    assert [len(draw) for draw in draws] == [5, 20, 50, 50]
    assert set(draws[0]) < set(draws[1]) < set(draws[2])
    order = [item.prompt for item in found.items]
    assert all(draw == [each for each in order if each in draw] for draw in draws)
    assert {item.prompt for item in found.sample(5, 4).items} != set(draws[0])
    assert found.sample(None) is found
    with pytest.raises(EvaluationError, match="0 prompts leave nothing to evaluate"):
        found.sample(0)


class Rows(list):
    """What `datasets` gives: rows, and addresses that name the commit."""

    info = SimpleNamespace(download_checksums={"hf://datasets/o/n@abc/data.jsonl": None})


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("hub:o/n", ("o/n", None, "train")),
        ("hub:o/n@v1", ("o/n", "v1", "train")),
        ("hub:o/n@v1:test", ("o/n", "v1", "test")),
        ("hub:o/n/c@v1:test", ("o/n", "v1", "test", "c")),
    ],
)
def test_a_hubs_rows_are_prompts(monkeypatch, source, asked):
    module, heard = ModuleType("datasets"), []

    def load_dataset(name, *configuration, revision, split):
        heard.append((name, revision, split, *configuration))
        return Rows([{"prompt": {"text": "one", "toxicity": 0.5}}, {"prompt": {"text": "two"}}])

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    found = load_prompts(source, plain_prompt)
    assert ([item.prompt for item in found.items], heard) == (["one", "two"], [asked])
    assert found.revision == (asked[1] or found.revision) != "unknown"


def test_a_data_set_that_cannot_be_had_is_one_sentence(monkeypatch):
    module = ModuleType("datasets")
    monkeypatch.setitem(sys.modules, "datasets", module)  # without load_dataset, which fails like any trouble within
    with pytest.raises(EvaluationError, match=r"The data set 'hub:o/n' cannot be had: .* Check its name"):
        load_prompts("hub:o/n", plain_prompt)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"hub:o/n needs the package 'datasets'. Install it: pip install"):
        load_prompts("hub:o/n", plain_prompt)
