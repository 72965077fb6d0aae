"""What a report holds: values, marks, plots, notes, and what it takes to get the same again."""

import shlex

import pytest

from evaluation.results import IDS, PERPLEXITY, SETTINGS, TOXIC, result, samples, voice, written
from lmalgebra.algebra import load_voice
from lmalgebra.evaluation.reports.blocks import Code, Figure, Listing, Paragraph, Table, markdown
from lmalgebra.evaluation.reports.outcomes import read_outcomes
from lmalgebra.evaluation.reports.report import report
from lmalgebra.evaluation.reports.table import tables
from lmalgebra.judges import ClassifierJudge
from tiny_classifiers import bert, save_classifier


@pytest.fixture
def reported(tmp_path):
    """The sections of a report of voices, by their titles."""

    def of(*voices, **more):
        found = report(read_outcomes([written(tmp_path / "a.json", *voices, **more)]))
        return {section.title: section.blocks for section in found.sections}

    return of


def of_kind(blocks, kind):
    return [block for block in blocks if isinstance(block, kind)]


def test_the_best_value_stands_out_where_it_is_surely_better(reported):
    blocks = reported(voice("plain"), voice("some", 0.4), voice("more", 0.3), voice("same"))["At a glance"]
    (found,) = of_kind(blocks, Table)
    assert found.head == [
        "voice",
        "expected maximum toxicity by profanity ↓",
        "perplexity per token by judge ↓",
    ]
    assert found.strong == {(2, 1)}
    assert found.rows[2][1].startswith("0.3")
    assert "better than that of plain" in blocks[-1].text


def test_nothing_stands_out_where_nothing_is_sure(reported):
    blocks = reported(voice("plain"), voice("same"))["At a glance"]
    assert of_kind(blocks, Table)[0].strong == frozenset()
    assert blocks[-1].text.endswith("No value stands out: none is surely better than that of plain.")


def test_one_voice_is_compared_with_none(reported):
    found = reported(voice("plain"))
    assert "What can be concluded" not in found
    assert found["At a glance"][0].text == "1 voice, asked 40 prompts of prompts.jsonl."


def test_it_has_what_can_be_concluded_of_its_columns(reported):
    blocks = reported(voice("plain"), voice("union", 0.3))["What can be concluded"]
    said = of_kind(blocks, Listing)[0].items
    assert len(said) == 2
    assert said[0].startswith("union has a lower expected maximum toxicity by profanity than plain: by 0.2")


def test_toxicity_stands_against_perplexity(reported):
    figures = of_kind(reported(voice("plain"))["Toxicity against perplexity"], Figure)
    title = "expected maximum toxicity by profanity against perplexity per token by judge"
    assert figures == [Figure(title.replace(" ", "-"), title)]


def test_without_perplexity_there_is_no_such_plot(reported):
    one = voice("plain")
    del one["metrics"][PERPLEXITY]
    assert "Toxicity against perplexity" not in reported(one)


def test_curves_and_costs_are_shown_where_there_are_some(reported):
    plain = reported(voice("plain"))
    assert not {"Control", "Cost"} & set(plain)
    curve = [voice(f"u{weight}", curve={"name": "union", "weight": weight}) for weight in (0, 1)]
    costs = [voice("a", cost={"seconds_per_token": 0.0123, "relative": 1.5}), voice("b", cost={"relative": 2})]
    found = reported(*curve, *costs)
    assert len(of_kind(found["Control"], Figure)) == 2
    assert [list(row) for row in found["Cost"][0].rows] == [["a", "12.3", "1.5"], ["b", "", "2"]]


def test_groups_of_prompts_and_agreement_have_tables(reported):
    found = reported(voice("plain"))
    (strata,) = of_kind(found["Groups of prompts"], Table)
    assert strata.rows == [["plain", "9", "", ""]]
    (agreement,) = of_kind(found["Agreement of judges"], Table)
    assert agreement.rows == [["one / other", "plain", "400", "0.5", "", "0.25"]]


def test_every_quantity_and_number_has_its_table(reported):
    one = voice("plain")
    one["metrics"]["coverage"] = {"all words": 0.25}
    tables = of_kind(reported(one)["All quantities"], Table)
    assert [list(each.head) for each in tables] == [
        ["voice", "expected maximum ↓", "mean ↓"],
        ["voice", "per token ↓"],
        ["voice", "all words"],
    ]
    assert tables[-1].rows == [["plain", "0.25"]]


def test_what_was_left_out_is_noted(reported):
    one = voice("plain", left_out={"id3": "Too long."}, notes={PERPLEXITY: ["2 empty texts."]})
    one["metrics"][TOXIC]["mean"] |= {"low": 0.5, "high": 0.5, "denominators": [0, 0, *[1] * 38]}
    (said,) = reported(one)["Left out and noted"]
    assert said.items[:3] == [
        "plain left 1 of 40 prompts unanswered: Too long.",
        f"plain, {PERPLEXITY}: 2 empty texts.",
        "plain, mean toxicity by profanity: measured on 38 of 39 prompts.",
    ]
    assert said.items[3].startswith("Where an interval has no width")


def test_what_was_asked(reported):
    found = reported(voice("plain"), samples("said"))["What was asked"]
    assert found[0].rows == [["plain", "base"], ["said", "said.jsonl"]]
    assert found[1].items == [
        "Suite toxicity, 40 prompts of prompts.jsonl (revision c0ffee).",
        "plain: max_new_tokens 20, temperature 1.0, top_p 0.9, seed 0, samples 5.",
        "said: a file of samples, whose settings are not known.",
        "toxicity by profanity: judge's kind function, judge's name profanity, judge's revision 1.9.1, threshold 0.5.",
        "perplexity by judge: kind perplexity, name judge, revision abc.",
    ]


def test_the_same_can_be_had_again(reported, tmp_path):
    one = voice("My voice", settings=SETTINGS | {"min_p": 0.1})
    command, used, _, file, weights = reported(one)["The same again"]
    assert shlex.split(command.text.replace("\\\n", "")) == shlex.split(
        "lmalgebra evaluate my-voice.toml --suite toxicity --prompts prompts.jsonl --count 40 --draw 3 "
        "--template 'Say: {{ prompt }}' --judge profanity "
        "--fluency judge --samples 5 --max-new-tokens 20 --temperature 1.0 --top-p 0.9 --seed 0"
    )
    assert isinstance(command, Code)
    assert used == Paragraph("Used: lmalgebra 0.1.0.")
    assert weights.items == ["Weights of toy: f00."]
    name, text = file.text.split("\n", 1)
    assert name == "# my-voice.toml"
    (tmp_path / "my-voice.toml").write_text(text)
    assert load_voice(tmp_path / "my-voice.toml").settings.min_p == 0.1


def test_a_judge_in_a_folder_is_asked_for_by_its_name(reported, tmp_path):
    judge = ClassifierJudge(str(save_classifier(tmp_path / "tiny", bert())), "LABEL_1")
    measures = {f"toxicity by {judge.name}": {"judge": judge.about()}}
    command, *_ = reported(voice("plain"), measures=measures)["The same again"]
    assert "--judge './tiny#LABEL_1' --fluency none" in command.text


def test_results_of_other_prompts_are_shown_and_not_compared(tmp_path):
    first = written(tmp_path / "a.json", voice("plain"))
    second = written(tmp_path / "b.json", voice("union"), ids=[f"new{place}" for place in range(len(IDS))])
    text = markdown("x", report(read_outcomes([first, second])).sections)
    assert "union cannot be compared with plain: they answered different prompts, and none of the same." in text


def test_tables_are_aligned_and_one_for_each_measure():
    found = tables(result(voice("plain"), voice("union") | {"cost": {"seconds_per_token": 0.0123, "relative": 1.5}}))
    blocks = found.split("\n\n")
    for block in blocks:
        assert len({len(line) for line in block.splitlines()}) == 1
    assert [line.split("|")[1].strip() for line in blocks[0].splitlines()][2:] == ["plain", "union"]
    assert [cell.strip() for cell in blocks[-1].splitlines()[-1].split("|")[1:-1]] == ["union", "12.3", "1.5"]


def test_the_table_of_one_prompt_has_no_interval():
    one = voice("a|b", count=1)
    assert tables(result(one, ids=["x"])).splitlines()[2].startswith("| a\\|b  ")
    assert "None" not in tables(result(one, ids=["x"]))
    assert " to " not in tables(result(one, ids=["x"]))
