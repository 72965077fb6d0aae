"""The exact toy model: its distributions, its files, its tokenizer. The session is in the contract suite."""

import json
import math

import pytest
import torch

from lmalgebra.errors import CacheFullError, ModelError, PromptError
from lmalgebra.models.loading import load
from lmalgebra.models.table import TOY_PIECES, TableModel, TableSession, TableTokenizer

LETTERS = ("a", "b", "<end>")


def write(folder, **content):
    file = folder / "table.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def test_a_toy_is_a_distribution_in_float64_after_every_context():
    for context in ([], [1], [1, 2], [3] * 50):
        logprobs = TableModel().logprobs(context)
        assert logprobs.dtype == torch.float64
        assert math.fsum(logprobs.exp().tolist()) == pytest.approx(1, abs=1e-12)


def test_a_toy_looks_at_its_whole_context_and_its_seed():
    table = TableModel(seed=1)
    one = table.logprobs([1, 2])
    for other in (table.logprobs([2, 2]), TableModel(seed=2).logprobs([1, 2])):
        assert not torch.equal(one, other)
    assert torch.equal(one, TableModel(seed=1).logprobs([1, 2]))


def test_a_table_of_an_order_looks_at_so_many_tokens():
    table = TableModel(order=2)
    assert torch.equal(table.logprobs([1, 2, 3]), table.logprobs([9, 2, 3]))
    assert not torch.equal(table.logprobs([1, 2, 3]), table.logprobs([1, 9, 3]))


def test_a_row_of_the_table_is_its_distribution():
    table = TableModel(LETTERS, order=1, rows={("a",): (0.25, 0.75, 0.0)})
    assert table.logprobs([1, 0]).exp().tolist() == [0.25, 0.75, 0.0]
    assert table.logprobs([0, 1]).exp().min() > 0


def test_sharpness_sets_how_uneven_a_toy_is():
    assert TableModel(sharpness=0.1).logprobs([1]).max() < TableModel(sharpness=5).logprobs([1]).max()


@pytest.mark.parametrize("source", ["toy", "toy:0", "toy:12"])
def test_a_toy_is_loaded_by_name(source):
    model = load(source)
    expected = TableModel(seed=int(source.partition(":")[2] or 0)).logprobs([1])
    row = model.session.open()
    assert torch.equal(model.session.extend({row: [1]})[row][0], expected)
    assert model.summary == f"exact toy model, {len(TOY_PIECES)} tokens, float64"


def test_a_table_is_loaded_from_a_file(tmp_path):
    file = write(tmp_path, pieces=LETTERS, order=2, seed=3, rows={"a b": [0.5, 0.5, 0], "": [1, 0, 0]})
    model = load(str(file))
    row = model.session.open([0])
    assert model.session.extend({row: [1]})[row].exp().tolist() == [[0.5, 0.5, 0.0]]


def test_forking_saves_what_was_read():
    session = TableModel().language_model().session
    row = session.open([1] * 8)
    twins = [session.fork(row, length) for length in (5, None, 2)]
    session.extend({twin: [5] for twin in twins})
    assert session.computed == 8 + 3


def test_a_full_toy_says_how_full_and_what_is_missing():
    session = TableSession(TableModel(), max_cache_tokens=20)
    row = session.open([1] * 5, room=12)
    with pytest.raises(CacheFullError) as refusal:
        session.fork(session.open([2]), room=8)
    assert str(refusal.value) == (
        "The key-value cache is full: it holds 13 of at most 20 tokens and 8 more are needed. "
        "Run fewer samples at once, shorten the prompt, or raise the session's cache limit."
    )
    session.extend({row: [3] * 10})
    assert session.room_left == 4


@pytest.mark.parametrize("source", ["toy:x", "toy:-1", "toy:1.5"])
def test_a_seed_that_is_no_number_is_refused(source):
    with pytest.raises(ModelError, match=f"'{source}' names no toy model. Write 'toy' or, with a seed, 'toy:7'"):
        load(source)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"order": 1}, "'pieces'"),
        ({"pieces": LETTERS, "colour": "red"}, "colour"),
        ({"pieces": LETTERS, "rows": [1]}, "items"),
        ({"pieces": 3}, "not iterable"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, reason):
    file = write(tmp_path, **content)
    with pytest.raises(ModelError, match=f"'.*table.json' is not a table of a toy model: .*{reason}.* It is JSON with"):
        load(str(file))


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    (tmp_path / "text.json").write_text("{", encoding="utf-8")
    for name in ("text.json", "missing.json"):
        with pytest.raises(ModelError, match=f"{name}' is not a table of a toy model"):
            load(str(tmp_path / name))


@pytest.mark.parametrize("row", [[0.5, 0.5], [0.5, 0.6, 0.0], [1.5, -0.5, 0.0]])
def test_a_row_that_is_no_distribution_is_refused(row):
    with pytest.raises(
        ModelError, match=r"The table's row for 'a b' is not a distribution over 3 pieces. Give as many"
    ):
        TableModel(LETTERS, rows={("a", "b"): tuple(row)})


@pytest.mark.parametrize("pieces", [("a", "a", "<end>"), ("a", "b")])
def test_pieces_must_differ_and_hold_the_end(pieces):
    with pytest.raises(ModelError, match="A table's pieces must differ and contain its end piece '<end>'"):
        TableModel(pieces)


def test_text_is_split_into_the_longest_pieces():
    tokenizer = TableTokenizer(TableModel(("a", "ab", "b", "<end>")))
    assert tokenizer.encode(["aab", "b"]) == [0, 1, 2]
    assert tokenizer.decode([0, 1, 2, 3]) == "aabb"


def test_what_cannot_be_spelled_is_named_and_the_end_cannot_be_written():
    tokenizer = TableTokenizer(TableModel(LETTERS))
    with pytest.raises(PromptError, match=r"The toy model cannot spell 'c'. Its pieces are 'a' 'b' '<end>'"):
        tokenizer.encode(["abc"])
    with pytest.raises(PromptError, match="cannot spell '<'"):
        tokenizer.encode(["<end>"])


def test_letters_of_any_case_are_the_toys():
    assert load("toy").tokenizer.encode(["Hello"]) == load("toy").tokenizer.encode(["hello"])
