"""From sentences to files: groups, rejected texts, the card; stops of all kinds, after which nothing is lost."""

import json
import sys

import pytest

import lmalgebra as la
from chat_server import chatting
from lmalgebra.errors import MissingExtraError, ModelError, TrainingError, VoiceError
from lmalgebra.models import connection
from lmalgebra.training.paraphrases.card import summary_rows
from lmalgebra.training.paraphrases.write import write_paraphrases
from training.paraphrases.words import lines, settings

JUDGE = "def scores(texts):\n    return [float('damn' in text) for text in texts]\n"


@pytest.fixture
def judge(tmp_path, monkeypatch):
    (tmp_path / "of_damn.py").write_text(JUDGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "of_damn:scores"
    sys.modules.pop("of_damn", None)


@pytest.fixture
def toy(tmp_path):
    """Settings by which the toy writes letters, of which what is long enough and new is taken."""
    voice = tmp_path / "toy.toml"
    voice.write_text(
        'formula = "base"\n[models.toy]\nsource = "toy"\n'
        '[terms.base]\nmodel = "toy"\nprefix = ""\n[terms.other]\nmodel = "toy"\nprefix = "x"\n'
    )

    def make(**changes):
        values = {"voice": str(voice), "negative_formula": "other", "max_new_tokens": 6, "temperature": 1.0}
        return settings(
            tmp_path, **values | {"longest": 1.0, "shortest": 0.3, "block": 2, "refusals": ("5",)} | changes
        )

    return make


def by_server(answer, tmp_path, **changes):
    with chatting(answer) as chat:
        return write_paraphrases(settings(tmp_path, endpoint=chat.address, **changes), la.voice), chat


def paraphrased(content):
    """One paraphrase for each side; negatives are rude."""
    side, text = content[0], content[2:]
    return 200, text.replace("sentence", "phrase") if side == "p" else f"damn {text}"


def test_groups_the_rejected_and_the_card(tmp_path, judge):
    result, chat = by_server(paraphrased, tmp_path, judge=judge, positives=2, negatives=1)
    groups, rejected = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.rejected.jsonl")
    assert result.path == tmp_path / "out.jsonl"
    assert groups[0] == {
        "anchor": "sentence number 0",
        "positives": ["phrase number 0"],
        "negatives": ["damn sentence number 0"],
        "measured": {"positives": [{"score": 0.0}], "negatives": [{"score": 1.0}]},
        "id": groups[0]["id"],
        "place": f"{tmp_path / 'corpus.jsonl'}, line 1",
    }
    # Two positives are asked for and are one text; the one that lacks is asked for once more.
    assert [each["reason"] for each in rejected] == ["duplicate"] * 12
    assert {each["seed"] for each in rejected} == {1, 2}
    assert len(chat.asked) == 6 * (2 + 1 + 1)
    card = json.loads((tmp_path / "out.card.json").read_text())
    assert card["counts"]["positives"] == {
        "proposed": 18,
        "accepted": 6,
        "in_groups": 6,
        "rejected": {"duplicate": 12},
    }
    assert card["settings"]["judge"] == judge
    assert len(card["sha256"]["out.jsonl"]) == 64
    assert ("accepted", "6 (33%)", "6 (100%)") in summary_rows(result.counts)
    page = (tmp_path / "out.card.md").read_text()
    assert "6 groups of a sentence" in page
    assert "| rejected: duplicate | 12 (67%) | 0 (0%) |" in page


def test_examples_are_turns_that_went_before(tmp_path):
    examples = {"positive_examples": {"a b": "b a"}, "negative_examples": {}}
    _, chat = by_server(paraphrased, tmp_path, count=1, positives=1, negatives=1, **examples)
    positive, negative = (next(each for each in chat.asked if each["messages"][-1]["content"][0] == s) for s in "pn")
    text = positive["messages"][-1]["content"]
    assert [each["content"] for each in positive["messages"]] == ["p a b", "b a", text]
    assert [each["role"] for each in positive["messages"]] == ["user", "assistant", "user"]
    assert len(negative["messages"]) == 1


def test_a_template_may_name_fields_of_the_row(tmp_path):
    with pytest.raises(TrainingError, match=r"line 1: The template 'p {{ text }} {{ lang }}' cannot be filled in"):
        by_server(paraphrased, tmp_path, positive_template="p {{ text }} {{ lang }}")


def test_a_group_without_a_side_is_rejected_with_what_it_has(tmp_path, judge):
    def answer(content):
        return paraphrased(content if "number 1" not in content else content.replace("n ", "p "))

    result, _ = by_server(answer, tmp_path, judge=judge, negatives=1, positives=1)
    (incomplete,) = [each for each in lines(tmp_path / "out.rejected.jsonl") if each["reason"] == "incomplete"]
    assert (incomplete["anchor"], incomplete["positives"], incomplete["negatives"]) == (
        "sentence number 1",
        ["phrase number 1"],
        [],
    )
    assert (result.counts.groups, result.counts.anchors, result.counts.accepted["positives"]) == (5, 6, 6)


def test_a_writer_that_only_refuses_ends_with_a_sentence_and_keeps_all(tmp_path):
    with pytest.raises(TrainingError) as caught:
        by_server(lambda content: (200, "I'm sorry, but I cannot."), tmp_path, patience=4, block=2)
    assert str(caught.value).startswith("Of 4 sentences in a row no paraphrase was accepted (refusal 48).")
    assert len(lines(tmp_path / "out.rejected.jsonl")) == 4 * 12 + 4
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert json.loads((tmp_path / "out.card.json").read_text())["counts"]["anchors"] == 4


def test_a_server_that_goes_away_leaves_what_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)

    def answer(content):
        return paraphrased(content) if "number 4" not in content else (503, {"error": "overloaded"})

    with chatting(answer) as chat:
        asked = settings(tmp_path, endpoint=chat.address, block=2, positives=1, negatives=1)
        with pytest.raises(ModelError, match="it answers 503: overloaded"):
            write_paraphrases(asked, la.voice)
        assert len(lines(tmp_path / "out.jsonl")) == 4
        chat.answer = paraphrased
        write_paraphrases(asked, la.voice, resume=True)
    assert [each["anchor"] for each in lines(tmp_path / "out.jsonl")] == [f"sentence number {n}" for n in range(6)]


@pytest.fixture
def whole(tmp_path, toy):
    """The files of a run that nothing has stopped."""
    result = write_paraphrases(toy(output=str(tmp_path / "whole.jsonl")), la.voice)
    assert 0 < result.counts.groups < 6 or result.counts.rejected
    return {name: (tmp_path / f"whole{name}").read_bytes() for name in (".jsonl", ".rejected.jsonl")}


def outcome(tmp_path):
    return {name: (tmp_path / f"out{name}").read_bytes() for name in (".jsonl", ".rejected.jsonl")}


def test_an_interrupted_run_goes_on_to_the_same_files(tmp_path, toy, whole):
    def interrupt(progress):
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_paraphrases(toy(), la.voice, advance=interrupt)
    told = []
    write_paraphrases(toy(), la.voice, resume=True, report=told.append, advance=lambda each: told.append(each.done))
    assert told == ["2 sentences to paraphrase, 4 are done.", 6]
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.9])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_killed_run_goes_on_to_the_same_files(tmp_path, toy, whole, share, ahead):
    """The rejected lines may be cut anywhere; the groups then end before, or with, that sentence's."""
    rejected = whole[".rejected.jsonl"][: int(share * len(whole[".rejected.jsonl"]))]
    known = [json.loads(line)["id"] for line in rejected.splitlines()[:-1]]
    groups = whole[".jsonl"].splitlines(keepends=True)
    before = [line for line in groups if json.loads(line)["id"] in known[:-1] and json.loads(line)["id"] != known[-1]]
    torn = groups[len(before)][:20] if ahead and len(before) < len(groups) else b""
    (tmp_path / "out.rejected.jsonl").write_bytes(rejected)
    (tmp_path / "out.jsonl").write_bytes(b"".join(before) + torn)
    write_paraphrases(toy(), la.voice, resume=True)
    found = outcome(tmp_path)
    assert sorted(found[".jsonl"].splitlines()) == sorted(whole[".jsonl"].splitlines())
    assert sorted(found[".rejected.jsonl"].splitlines()) == sorted(whole[".rejected.jsonl"].splitlines())


def test_nothing_goes_on_with_other_settings_or_over_other_files(tmp_path, toy):
    write_paraphrases(toy(count=2), la.voice)
    with pytest.raises(TrainingError, match=r"already holds something. Add --resume"):
        write_paraphrases(toy(count=2), la.voice)
    with pytest.raises(TrainingError, match=r"out.card.json has seed = 0, not 1. Go on with the same settings"):
        write_paraphrases(toy(count=2, seed=1), la.voice, resume=True)
    (tmp_path / "corpus.jsonl").write_text('{"text": "another"}\n')
    with pytest.raises(TrainingError, match="has corpus_revision = "):
        write_paraphrases(toy(count=2), la.voice, resume=True)
    (tmp_path / "other.jsonl").write_text('{"text": "another"}\n')
    with pytest.raises(TrainingError, match="holds other lines than those of paraphrases"):
        write_paraphrases(toy(output=str(tmp_path / "other.jsonl")), la.voice, resume=True)


def test_more_sentences_may_be_drawn_later(tmp_path, toy):
    write_paraphrases(toy(count=2), la.voice)
    few = outcome(tmp_path)
    told = []
    write_paraphrases(toy(count=4), la.voice, resume=True, report=told.append)
    assert told == ["2 sentences to paraphrase, 2 are done."]
    assert all(content.startswith(few[name]) for name, content in outcome(tmp_path).items())
    assert json.loads((tmp_path / "out.card.json").read_text())["settings"]["count"] == 4


def test_parquet_has_the_same_groups(tmp_path, toy):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = write_paraphrases(toy(output=str(tmp_path / "out.parquet")), la.voice)
    assert result.path == tmp_path / "out.parquet"
    rows = parquet.read_table(result.path).to_pylist()
    known = lines(tmp_path / "out.jsonl")
    assert [(row["anchor"], row["positives"]) for row in rows] == [(row["anchor"], row["positives"]) for row in known]


def test_parquet_without_arrow_is_a_sentence_before_anything_is_written(tmp_path, toy, monkeypatch):
    monkeypatch.setattr("lmalgebra.training.paraphrases.parquet.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="Parquet needs the package 'pyarrow'"):
        write_paraphrases(toy(output=str(tmp_path / "out.parquet")), la.voice)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"voice": "nowhere.toml"}, VoiceError, "There is no voice file"),
        ({"embedder": "./nowhere"}, ModelError, "nowhere"),
        ({"output": "nowhere/out.jsonl"}, TrainingError, "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_written(tmp_path, toy, changes, error, sentence):
    with pytest.raises(error, match=sentence):
        write_paraphrases(toy(**changes), la.voice)
    assert not (tmp_path / "out.jsonl").exists()
