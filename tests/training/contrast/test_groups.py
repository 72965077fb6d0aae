"""Groups from files: what is read, what is said of what cannot be, and what is drawn of them."""

import json

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.training.contrast.encoding import Encoder, GroupSet
from lmalgebra.training.contrast.groups import Group, read_groups, read_texts, split
from lmalgebra.training.contrast.settings import ContrastSettings
from tiny_classifiers import letters


def chosen(tmp_path, lines, **changes):
    file = tmp_path / "data.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return ContrastSettings(**{"data": str(file), "model": "m", "output": "o"} | changes)


def test_lines_of_anchors_and_sides(tmp_path):
    lines = [
        {"anchor": "x", "positives": ["a", "b", "a"], "negatives": ["c"]},
        {"positives": ["d"], "negatives": ["e"], "more": 1},
        {"anchor": "x", "positives": ["f"], "negatives": ["c", "g"]},
    ]
    groups = read_groups(chosen(tmp_path, lines)).groups
    first, second = (f"{tmp_path / 'data.jsonl'}, line {number}" for number in (1, 2))
    assert groups == (Group("x", ("a", "b", "f"), ("c", "g"), first), Group("", ("d",), ("e",), second))


def test_pairs_under_other_names(tmp_path):
    lines = [{"toxic": "h", "neutral": ["a", "b"]}, {"toxic": "hh", "neutral": "c"}]
    groups = read_groups(chosen(tmp_path, lines, positives="neutral", negatives="toxic", anchor="toxic")).groups
    assert [(group.anchor, group.positives, group.negatives) for group in groups] == [
        ("h", ("a", "b"), ("h",)),
        ("hh", ("c",), ("hh",)),
    ]


def test_a_hubs_rows_of_one_anchor_are_one_group(tmp_path, monkeypatch):
    rows = [("hub:x/y, row 1", {"bad": "h", "good": "a"}), ("hub:x/y, row 2", {"bad": "h", "good": "b"})]
    monkeypatch.setattr("lmalgebra.training.contrast.groups.read_rows", lambda source: ("1", rows))
    settings = ContrastSettings(
        data="hub:x/y", model="m", output="o", positives="good", negatives="bad", anchor="bad", prompt="{{ anchor }}: "
    )
    assert read_groups(settings).groups == (Group("h", ("a", "b"), ("h",), "hub:x/y, row 1"),)


def test_tables_of_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "groups.parquet"
    rows = [
        {"anchor": "x", "positives": ["a"], "negatives": ["b", "c"]},
        {"anchor": None, "positives": ["d"], "negatives": []},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    settings = ContrastSettings(data=str(file), model="m", output="o", random_negatives=1)
    assert [group.negatives for group in read_groups(settings).groups] == [("b", "c"), ()]
    with pytest.raises(TrainingError, match=r"groups.parquet, row 2: the group has no negatives"):
        read_groups(ContrastSettings(data=str(file), model="m", output="o"))
    file.write_text("no table")
    with pytest.raises(TrainingError, match=r"groups.parquet is no table of Parquet"):
        read_groups(settings)
    with pytest.raises(TrainingError, match=r"There is no file of groups 'none.parquet'"):
        read_groups(ContrastSettings(data="none.parquet", model="m", output="o"))


def test_what_is_the_same_on_both_sides_is_no_negative(tmp_path):
    lines = [{"positives": ["a"], "negatives": ["a", "b"]}, {"positives": ["c"], "negatives": ["c"]}]
    found = read_groups(chosen(tmp_path, lines))
    assert [group.negatives for group in found.groups] == [("b",)]
    assert found.left_out == 1
    with pytest.raises(TrainingError, match="All 1 groups say the same as positive and as negative"):
        read_groups(chosen(tmp_path, lines[1:]))


@pytest.mark.parametrize(
    ("lines", "changes", "sentence"),
    [
        ([], {}, "there is no group"),
        (["["], {}, "line 1: this is not JSON"),
        (["3"], {}, "line 1: this is no object"),
        ([{"positives": ["a"], "negatives": [3]}], {}, "line 1: 'negatives' holds what is no text"),
        ([{"positives": " ", "negatives": "b"}], {}, "line 1: 'positives' holds what is no text"),
        (
            [{"good": "a", "negatives": "b"}],
            {},
            "line 1: there is no field 'positives'. Its fields are: good, negatives",
        ),
        ([{"positives": ["a"], "negatives": []}], {}, "line 1: the group has no negatives. .* with random_negatives"),
        ([{"positives": [], "negatives": ["b"]}], {}, "line 1: the group has no positives"),
        (
            [{"positives": ["a"], "negatives": []}],
            {"objective": "negatives"},
            "no negatives. Mend or remove the line.$",
        ),
        ([{"positives": ["a"]}], {"random_negatives": 2}, "No group has negatives"),
        ([{"positives": "a", "negatives": "b"}], {"prompt": "{{ anchor }}"}, "no anchor in 'anchor' for the prompt"),
        ([{"positives": "a", "negatives": "b", "anchor": ["a", "b"]}], {}, "'anchor' has 2 texts"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(tmp_path, lines, changes, sentence):
    with pytest.raises(TrainingError, match=sentence):
        read_groups(chosen(tmp_path, lines, **changes))


def test_a_missing_file_is_one_sentence():
    with pytest.raises(TrainingError, match=r"There is no file of groups 'none.jsonl'"):
        read_groups(ContrastSettings(data="none.jsonl", model="m", output="o"))


def test_groups_that_lack_a_side_live_where_others_negatives_stand_in(tmp_path):
    lines = [{"positives": ["a"]}, {"positives": ["b"], "negatives": ["c", "d"]}, {"negatives": ["e"]}]
    settings = chosen(tmp_path, lines * 2, random_negatives=2)
    groups = read_groups(settings).groups
    assert len(groups) == 6
    kept, held = split(groups, settings)
    assert [group.negatives for group in held] == [("c", "d")]
    drawn = GroupSet(kept, Encoder(letters(), settings), settings)
    assert len(drawn) == 3  # a group without positives only gives negatives
    assert [len(drawn[place].random) for place in range(3)] == [2, 2, 2]
    own = next(place for place in range(3) if drawn[place].negatives)
    assert not set(drawn[own].random) & set(drawn[own].negatives)


def test_a_share_is_held_out_by_the_seed(tmp_path):
    lines = [{"positives": [f"a{number}"], "negatives": ["b"]} for number in range(20)]
    splits = {}
    for seed in (0, 0, 1):
        settings = chosen(tmp_path, lines, held_out=0.25, seed=seed)
        kept, held = split(read_groups(settings).groups, settings)
        assert (len(kept), len(held)) == (15, 5)
        splits.setdefault(seed, []).append(held)
    assert splits[0][0] == splits[0][1] != splits[1][0]
    settings = chosen(tmp_path, lines, held_out=0.25, held_out_groups=2)
    assert len(split(read_groups(settings).groups, settings)[1]) == 2
    (tmp_path / "more.jsonl").write_text('{"positives": "x", "negatives": "y"}')
    settings = chosen(tmp_path, lines, held_out_data=str(tmp_path / "more.jsonl"))
    kept, held = split(read_groups(settings).groups, settings)
    assert (len(kept), [group.positives for group in held]) == (20, [("x",)])
    settings = chosen(tmp_path, lines[:1])
    with pytest.raises(TrainingError, match="1 groups leave nothing to train on or nothing to hold out"):
        split(read_groups(settings).groups, settings)


def test_draws_depend_on_the_epoch_and_the_group_alone(tmp_path):
    lines = [{"positives": list("abcd"), "negatives": [f"{letter}h" for letter in "efg"]} for _ in range(3)]
    settings = chosen(tmp_path, lines, most_positives=2, most_negatives=1, random_negatives=1)
    groups = read_groups(settings).groups

    def epochs():
        drawn = GroupSet(groups, Encoder(letters(), settings), settings)
        for epoch in range(6):
            drawn.begin_epoch(epoch)
            yield [drawn[place] for place in range(3)]

    first, again = list(epochs()), list(epochs())
    assert first == again
    assert len({str(each) for each in first}) > 1
    assert all((len(d.positives), len(d.negatives), len(d.random)) == (2, 1, 1) for epoch in first for d in epoch)


def test_texts_begin_after_a_start_and_the_prompt(tmp_path):
    settings = chosen(tmp_path, [], max_tokens=3, prompt="{{ anchor }}.", end_token=True)
    assert Encoder(letters(), settings)("abcd", "hg") == ((1, 11, 10, 13, 4, 5, 0), 4)
    plain = chosen(tmp_path, [], max_tokens=3)
    assert Encoder(letters(start=True), plain)("abcd") == ((1, 4, 5, 6), 1)
    assert Encoder(letters(), plain)("abcd") == ((1, 4, 5, 6), 1)
    assert Encoder(letters(), plain)("<end>").tokens != (1, 0)  # a text spells no control token
    with pytest.raises(TrainingError, match="The prompt asks for 'prompt'"):
        Encoder(letters(), chosen(tmp_path, [], prompt="{{ prompt }}"))


def test_utility_texts(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "a"}\n{"text": ["b", "a"]}\n')
    assert read_texts(str(file), "text") == ("a", "b")
    with pytest.raises(TrainingError, match="line 1: there is no field 'said'"):
        read_texts(str(file), "said")
