"""Judges: how they are written, what they say, and what a broken one is told."""

import importlib
import linecache
import sys

import pytest
import torch

from chat_server import chatting
from evaluation.conftest import answers, values
from llama_servers import SERVERS, missing_for
from lmalgebra.errors import EvaluationError, MissingExtraError, ModelError
from lmalgebra.evaluation.measures.toxicity import Toxicity
from lmalgebra.judges import AskedJudge, ClassifierJudge, FunctionJudge, Question, judge_of, judges_of
from lmalgebra.judges.asked import number_in
from lmalgebra.judges.classifier import DETOXIFY
from lmalgebra.models import connection
from lmalgebra.models.catalog import gguf_path
from lmalgebra.models.sequence_classifier import load_classifier
from tiny_classifiers import bert, save_classifier

NAMED = {0: "fine", 1: "toxic"}


@pytest.fixture
def folder(tmp_path):
    return save_classifier(tmp_path / "tiny", bert(id2label=NAMED, label2id={"fine": 0, "toxic": 1}))


@pytest.mark.parametrize(
    ("written", "source", "label", "revision", "name"),
    [
        (
            "s-nlp/roberta_toxicity_classifier",
            "s-nlp/roberta_toxicity_classifier",
            "",
            "main",
            "roberta_toxicity_classifier",
        ),
        ("o/n#toxic", "o/n", "toxic", "main", "n"),
        ("o/n@v1.0#toxic", "o/n", "toxic", "v1.0", "n"),
        ("o/n@refs/pr/2#toxic", "o/n", "toxic", "refs/pr/2", "n"),
        ("./folder/#1", "./folder/", "1", "main", "folder"),
        ("detoxify", "unitary/toxic-bert", "toxic", "main", "detoxify:original"),
        ("detoxify:unbiased", "unitary/unbiased-toxic-roberta", "toxicity", "refs/pr/2", "detoxify:unbiased"),
        ("detoxify:original#insult", "unitary/toxic-bert", "insult", "main", "detoxify:original"),
    ],
)
def test_a_classifier_is_written(written, source, label, revision, name):
    judge = judge_of(written)
    assert isinstance(judge, ClassifierJudge)
    assert (judge.source, judge.label, judge.revision, judge.name) == (source, label, revision, name)


def test_a_folder_may_have_an_at_in_its_name(tmp_path):
    (tmp_path / "me@home").mkdir()
    assert judge_of(f"{tmp_path}/me@home#x").source == f"{tmp_path}/me@home"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "There is no judge ''. Write a folder"),
        ("#toxic", "There is no judge '#toxic'"),
        ("profanty", "There is no judge 'profanty'. Did you mean 'profanity'"),
        ("detoxify:large", "Detoxify has no network 'large'. It has: original, unbiased, multilingual."),
        ("no_such_module:f", "cannot be imported: No module named 'no_such_module'. Write module:function"),
        ("json:no_such", "cannot be imported: module 'json' has no attribute 'no_such'"),
        ("json:__name__", "'json:__name__' is no function"),
    ],
)
def test_what_is_no_judge_is_refused(written, message):
    with pytest.raises(EvaluationError, match=message):
        judge_of(written)


def test_a_classifier_says_what_it_says_alone(folder):
    judge = judge_of(f"{folder}#toxic")
    texts = ["abc", "", "dad bead", "h"]
    assert judge.scores(texts) == pytest.approx(
        load_classifier(str(folder), dtype="float32").probabilities(texts, "toxic"), abs=1e-5
    )
    assert judge.about()["label"] == "toxic"


def test_a_wrong_label_is_told_with_those_there_are(folder):
    with pytest.raises(ModelError, match=r"has no label 'rude'. Its labels are: 0 'fine', 1 'toxic'."):
        judge_of(f"{folder}#rude").about()
    with pytest.raises(ModelError, match=r"needs a label. Its labels are"):
        judge_of(str(folder)).about()


def test_a_classifier_that_is_damaged_is_told(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        judge_of(f"{folder}#toxic").about()


def test_other_weights_are_another_judge(folder, tmp_path):
    other = save_classifier(tmp_path / "other" / "tiny", bert(id2label=NAMED), seed=5)
    one, another = (judge_of(f"{place}#toxic").about() for place in (folder, other))
    assert one | {"revision": ""} == another | {"revision": ""}
    assert one["revision"] != another["revision"]


def test_each_label_of_detoxify_is_a_question_of_its_own(folder, monkeypatch):
    monkeypatch.setitem(DETOXIFY, "original", (str(folder), "main", "toxic"))
    logits = load_classifier(str(folder), dtype="float32").logits(["abc"])
    assert judge_of("detoxify").scores(["abc"]) == pytest.approx([torch.sigmoid(logits[0, 1]).item()], abs=1e-5)
    assert judge_of("detoxify#fine").scores(["abc"]) == pytest.approx([torch.sigmoid(logits[0, 0]).item()], abs=1e-5)


@pytest.mark.parametrize(("name", "package"), [("profanity", "alt-profanity-check"), ("vader", "vaderSentiment")])
def test_a_package_that_is_missing_is_one_line(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(MissingExtraError, match=rf"needs the package '{package}'. Install it: pip install"):
        judge_of(name)


def test_judges_that_travel_in_packages():
    kind, rude = judge_of("profanity").scores(["Have a nice day.", "You fucking idiot."])
    assert kind < 0.2 < 0.8 < rude
    judge = judge_of("vader")
    assert judge.scores(["I love it", "I hate it", "a table"]) == [0.81845, 0.21405, 0.5]  # (compound + 1) / 2
    assert judge.about()["revision"]


def test_a_function_of_a_module_is_known_by_its_file(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    revisions = []
    for function in ("1 / (1 + len(text))", "1 / (2 + len(text))"):
        (tmp_path / "judges_of_mine.py").write_text(f"def short(texts):\n    return [{function} for text in texts]\n")
        sys.modules.pop("judges_of_mine", None)
        importlib.invalidate_caches()
        linecache.clearcache()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        judge = judge_of("judges_of_mine:short")
        sys.dont_write_bytecode = before
        revisions.append(judge.about()["revision"])
    assert judge.scores(["", "aa"]) == [0.5, 0.25]
    assert judge.name == "judges_of_mine:short"
    assert revisions[0] != revisions[1]


def test_judges_of_one_name_are_called_as_they_are_written():
    names = [judge.name for judge in judges_of(["detoxify", "detoxify#insult", "o/n#x"])]
    assert names == ["detoxify", "detoxify#insult", "n"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5])
def test_what_is_no_score_is_of_its_text_only(value):
    first, second = FunctionJudge("f", lambda texts: [value, 0.5]).scores(["a", "b"])
    assert "which is no score from 0 to 1" in str(first)
    assert second == 0.5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda texts: [0.5], "gives 1 scores for 2 texts"),
        (lambda texts: ["high", "low"], "fails: could not convert string to float: 'high'"),
        (lambda texts: 1 / 0, "fails: division by zero"),
        (lambda texts: None, "fails: 'NoneType' object is not iterable"),
    ],
)
def test_a_function_that_does_not_judge_is_told(function, message):
    with pytest.raises(EvaluationError, match=message):
        FunctionJudge("f", function).scores(["a", "b"])


@pytest.mark.parametrize(
    ("answer", "scale", "score"),
    [
        ("7", 10, 0.7),
        ("0.", 10, 0),
        ("The score is 10.", 10, 1),
        ("**3**", 10, 0.3),
        ("I'd say 7/10, for there are 2 insults.", 10, 0.7),
        ("7 out of 10", 10, 0.7),
        ("4/5", 10, 0.8),
        ("0.25", 1, 0.25),
        ("5, I repeat: 5", 10, 0.5),
        ("<think>Is it 3 or 4?</think>4", 10, 0.4),
        ("<think>Is it 3 or", 10, None),
        ("Between 3 and 4.", 10, None),
        ("11", 10, None),
        ("-1", 10, None),
        ("7/0", 10, None),
        ("It is toxic.", 10, None),
        ("GPT4 says no", 10, None),
        ("", 10, None),
    ],
)
def test_the_number_of_an_answer(answer, scale, score):
    assert number_in(answer, scale) == (None if score is None else pytest.approx(score))


def length(content):
    """Answers with how long the judged text is."""
    return 200, f"{len(content.rpartition('Text:')[2].strip())}/10"


def test_a_language_model_is_asked_of_each_text(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    with chatting(length) as chat:
        judge = judge_of(f"{chat.address}#gpt", Question(key_env="JUDGE_KEY"))
        measured = Toxicity(judge, tmp_path).measure(answers(["abc", "ab"], ["abcdefg"]))
    assert measured.scores == [0.3, 0.2, 0.7]
    assert chat.asked[0]["model"] == "gpt"
    assert (chat.asked[0]["temperature"], set(chat.keys)) == (0, {"Bearer secret"})
    assert measured.notes == []
    assert "secret" not in str(judge.about())


def test_an_answer_without_a_number_is_a_note(tmp_path):
    with chatting(lambda content: (200, "I cannot judge this." if "bad" in content else "2")) as chat:
        measured = Toxicity(judge_of(chat.address), tmp_path).measure(answers(["bad", "good"]))
    assert values(measured.quantities)["mean"] == 0.2
    assert measured.scores == [None, 0.2]
    (note,) = measured.notes
    assert note.startswith('"bad": The judge')
    assert "answers 'I cannot judge this.', in which there is no single" in note


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, {"choices": 7}])
def test_an_answer_of_another_form_is_a_note(tmp_path, answer):
    with chatting(lambda content: (200, answer)) as chat:
        assert Toxicity(judge_of(chat.address), tmp_path).measure(answers(["a"])).scores == [None]


def test_a_text_that_the_server_refuses_is_a_note(tmp_path):
    with chatting(
        lambda content: (400, {"error": {"message": "too long"}}) if "long" in content else (200, "5")
    ) as chat:
        measured = Toxicity(judge_of(chat.address), tmp_path).measure(answers(["a", "long", "b"]))
    assert measured.scores == [0.5, None, 0.5]
    assert "refuses the question (400): too long" in measured.notes[0]


def test_a_server_that_lets_nobody_in_ends_it_all(tmp_path):
    with (
        chatting(lambda content: (401, {"error": "no"})) as chat,
        pytest.raises(ModelError, match="does not let us in"),
    ):
        Toxicity(judge_of(chat.address), tmp_path).measure(answers(["a", "b"]))
    assert len(chat.asked) <= 2


def test_a_server_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    with pytest.raises(ModelError, match="there is no connection"):
        Toxicity(judge_of("http://127.0.0.1:9/v1"), tmp_path).measure(answers(["a"]))


def test_the_question_can_be_another_and_see_the_prompt(tmp_path):
    question = Question("Prompt: {{ prompt }} Text: {{ text }} From 0 to 100?", scale=100)
    with chatting(lambda content: (200, "50")) as chat:
        judge = judge_of(chat.address, question)
        measured = Toxicity(judge, tmp_path).measure(answers(["a"], prompts=["hello"]))
    assert chat.asked[0]["messages"][0]["content"] == "Prompt: hello Text: a From 0 to 100?"
    assert measured.scores == [0.5]
    assert judge.about() != AskedJudge(chat.address, "", Question()).about()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Rate it.", "does not name 'text'"),
        ("{{ text }} {{ txt }}", "names 'txt'"),
        ("{{ text", "cannot be filled in"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(template, message):
    with pytest.raises(EvaluationError, match=message):
        judge_of("http://host/v1", Question(template))


def test_a_template_cannot_reach_what_it_should_not():
    judge = judge_of("http://host/v1", Question("{{ text.__class__.__mro__ }}"))
    with pytest.raises(EvaluationError, match="cannot be filled in"):
        judge.scores(["a"])


@pytest.mark.slow
def test_llama_cpps_own_server_is_a_judge(smollm2, tmp_path):
    if missing := missing_for("llama.cpp"):
        pytest.skip(f"needs {', '.join(missing)}")
    question = Question("Copy this text and say nothing else:\n{{ text }}")
    with SERVERS["llama.cpp"][0](gguf_path("smollm2-135m"), 512) as address:
        measured = Toxicity(judge_of(address, question), tmp_path).measure(answers(["7", "3/10"]))
    assert len(measured.notes) == measured.scores.count(None)
    assert measured.scores[1] in (0.3, None)


def test_a_judge_that_no_hub_has_is_told_without_loading(monkeypatch):
    from lmalgebra.models import fingerprint

    monkeypatch.setattr(fingerprint, "_hub_commit", lambda *_: "")
    with pytest.raises(ModelError, match="'o/n' is neither on this machine nor can it be had from its hub"):
        judge_of("o/n@v2#x").about()
    monkeypatch.setattr(ClassifierJudge, "_require_label", lambda self: None)
    monkeypatch.setattr(fingerprint, "_hub_commit", lambda source, revision: f"commit of {revision}")
    assert judge_of("o/n@v2#x").about()["revision"] == "commit of v2"
