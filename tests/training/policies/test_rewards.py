"""Rewards: what each component gives by hand, what judges behind them are shown, and how they combine."""

import json
import math
import sys

import pytest

from chat_server import chatting
from lmalgebra.errors import MissingExtraError, ModelError, TrainingError
from lmalgebra.models.sequence_classifier import load_classifier
from lmalgebra.training.policies.rewards import KINDS, Said, constant, reward_of
from tiny_classifiers import bert, llama, save_classifier

CATCH = {"concepts": ["dog", "frisbee", "catch"]}


def said(*texts, prompt="p", **fields):
    return [Said(prompt, text, fields) for text in texts]


def totals(written, *texts, **fields):
    return reward_of(written)(said(*texts, **fields)).total


@pytest.fixture
def folder(tmp_path):
    return save_classifier(tmp_path / "tiny", bert(id2label={0: "fine", 1: "toxic"}, label2id={"fine": 0, "toxic": 1}))


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Writes functions that rewards can import; each test has a module of its own."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source):
        name = f"functions_{tmp_path.name}"
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize(
    ("written", "text", "value"),
    [
        ("coverage", "The dog catches a frisbee.", 1),
        ("coverage", "A frisbee, caught.", 2 / 3),
        ("order", "The dog catches a frisbee.", 2 / 3),
        ("order", "Dogs love frisbees that they caught.", 1),
        ("order(field=concepts)", "nothing", 0),
        ("length(4)", "a b c d", 1),
        ("length(4)", "a b", 0.5),
        ("length(4)", "a b c d e f g h", 0.5),
        ("length(4)", "", 0),
        ("length(least=4)", "a b c d e f g h", 1),
        ("length(least=4)", "a", 0.25),
        ("length(most=4)", "", 1),
        ("length(most=4)", "a b c d e", 0.8),
        ("length(least=2, most=4)", "a b c", 1),
        ("repetition(2)", "a b a b a b", 0.6),
        ("repetition", "a b c", 0),
        ("repetition(1)", "", 0),
    ],
)
def test_what_is_counted(written, text, value):
    assert totals(written, text, **CATCH) == [pytest.approx(value)]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("coverage * length(4)", 1 / 3),
        ("coverage + length(4)", 2 / 3 + 0.5),
        ("2 * coverage - length(4) / 4", 4 / 3 - 0.125),
        ("-(coverage - 1) * (0.5 + length(4))", 1 / 3),
        ("1 - .5e0 * length(target=4)", 0.75),
        ("coverage\n + 3", 11 / 3),
    ],
)
def test_components_are_added_and_multiplied(written, value):
    rewarded = reward_of(written)(said("dog, caught", **CATCH))
    assert rewarded.total == [pytest.approx(value)]
    assert all(each in ({"coverage": [2 / 3], "length(4)": [0.5]}[name],) for name, each in rewarded.parts.items())


def test_a_backslash_in_a_text_is_no_warning():
    assert list(reward_of(r"judge('folder\d#label')").components) == [r"judge(folder\d#label)"]


def test_one_component_twice_is_one_and_others_of_one_name_are_numbered():
    reward = reward_of("coverage + coverage * order - order(field=other)")
    assert list(reward.components) == ["coverage", "order", "order(other)"]
    asked = reward_of("fluent('http://h/v1#m') + fluent('http://h/v1#m', question='Is {{ text }} fine?')")
    assert list(asked.components) == ["fluent(http://h/v1#m)", "fluent(http://h/v1#m) 2"]


def test_judges_of_packages_and_of_folders(folder):
    kind, rude = "Have a nice day.", "You fucking idiot."
    profanity = totals("nontoxic(profanity)", kind, rude)
    assert profanity[0] > 0.8 > 0.2 > profanity[1]
    assert totals("judge(vader)", "I love it", "a table") == [0.81845, 0.5]
    classifier = load_classifier(str(folder), dtype="float32").probabilities(["abc", "dad"], "toxic")
    assert totals(f"human('{folder}#toxic')", "abc", "dad") == pytest.approx(classifier, abs=1e-5)
    assert totals(f"1 - fluent('{folder}#toxic')", "abc") == totals(f"nontoxic('{folder}#toxic')", "abc")


def test_judges_of_pairs_read_what_comes_before(tmp_path):
    folder = save_classifier(tmp_path / "pairs", llama(id2label={0: "no", 1: "yes"}))
    classifier = load_classifier(str(folder), dtype="float32")
    pairs = classifier.probabilities([("ab", "c"), ("h", "c")], "yes")
    assert pairs[0] != pytest.approx(pairs[1], abs=1e-4)
    entailed = reward_of(f"faithful('{folder}#yes')")
    assert entailed(said("c", knowledge="ab")).total == pytest.approx(pairs[:1], abs=1e-5)
    safe = reward_of(f"safe('{folder}#yes')")
    assert safe(said("c", prompt="h")).total == pytest.approx([1 - pairs[1]], abs=1e-5)  # the prompt
    assert safe(said("c", prompt="h", context="ab")).total == pytest.approx([1 - pairs[0]], abs=1e-5)  # the field first
    chat = [{"role": "user", "content": "h"}]
    assert safe(said("c", prompt=chat)).total == pytest.approx([1 - pairs[1]], abs=1e-5)


def test_language_models_are_asked_the_question_of_the_kind(monkeypatch):
    monkeypatch.setenv("REWARD_KEY", "secret")
    with chatting(lambda content: (200, "3" if "Knowledge:\nk\n\nAnswer:\na" in content else "8/10")) as chat:
        written = f"safe('{chat.address}#m', key_env=REWARD_KEY) + faithful('{chat.address}#m')"
        rewarded = reward_of(written)(said("a", knowledge="k", context="before"))
        own = f"judge('{chat.address}#m', question='Is {{{{ text }}}} after {{{{ prompt }}}} kind? 0 to 4', scale=4)"
        with chatting(lambda content: (200, "3")) as other:
            assert reward_of(own.replace(chat.address, other.address))(said("a")).total == [0.75]
            assert other.asked[0]["messages"][0]["content"] == "Is a after p kind? 0 to 4"
    assert rewarded.parts == {f"safe({chat.address}#m)": [pytest.approx(0.2)], f"faithful({chat.address}#m)": [0.3]}
    assert "Message:\nbefore" in chat.asked[0]["messages"][0]["content"]
    assert chat.keys[0] == "Bearer secret"


def test_functions_get_texts_or_all_that_is_known(functions):
    name = functions(
        "def long(texts): return [len(text) * 10 for text in texts]\n"
        "def known(said): return [len(each.prompt) + each.fields['n'] for each in said]\n"
    )
    assert totals(f"python('{name}:long')", "ab", "") == [20, 0]
    assert totals(f"python('{name}:known') / 2", "ab", n=3) == [2]
    assert reward_of(f"python('{name}:long')").about()["components"][f"python({name}:long)"]["revision"]


def test_a_component_of_ones_own_stands_in_the_text_by_its_name():
    class Vowels:
        name = "vowels"

        def about(self):
            return {"kind": "vowels"}

        def __call__(self, said):
            return [sum(letter in "aeiou" for letter in each.text) for each in said]

    reward = reward_of("vowels - repetition(1)", own={"vowels": Vowels()})
    assert reward(said("aeb")).total == [2]
    assert reward.about()["components"]["vowels"] == {"kind": "vowels"}


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("", "The reward is empty. Write one such as"),
        ("3 * 2", "The reward `3 * 2` is the same for every text."),
        ("coverage +", "cannot be read here.\n  coverage +\n"),
        ("judge(./folder#x)", "What is no plain word stands in quotes"),
        ("nontoxik(vader)", "`nontoxik` is no kind of reward.\n  nontoxik(vader)\n  ^^^^^^^^ Did you mean `nontoxic`?"),
        ("order + zzz", f"`zzz` is no kind of reward.\n  order + zzz\n          ^^^ Kinds: {', '.join(KINDS)}."),
        ("judge", "`judge` lacks its judge.\n  judge\n  ^^^^^ Write judge(judge, question='', scale=10.0, key_env"),
        ("order(a, b)", "`order` takes no argument here.\n  order(a, b)\n           ^ Write order(field='concepts')."),
        ("length(targt=3)", "`length` has no argument `targt`."),
        ("order(a, field=b)", "`field` is given twice."),
        ("length(20.5)", "target = 20.5 is not a whole number."),
        ("length('long')", "target = 'long' is not a whole number."),
        ("length(0)", "target = 0 is out of range."),
        ("length()", "The reward 'length' needs either a target or bounds."),
        ("length(3, most=4)", "The reward 'length' needs either a target or bounds."),
        ("length(least=5, most=4)", "length(least=5, most=4) holds no length."),
        ("length([3])", "This is neither a number nor a text."),
        ("coverage ** 2", "This operator is not part of rewards."),
        ("coverage / order", "Only a number other than 0 may divide."),
        ("coverage / 0", "Only a number other than 0 may divide."),
        ("'coverage'", "This is not part of rewards."),
        ("json.loads('1')", "Only a kind's name can stand before brackets."),
        ("+".join(["order"] * 5000), "The reward nests too deeply"),
        ("judge('http://h/v1#m')", "judge(http://h/v1#m) needs a question to ask."),
        ("judge('http://h/v1#m', question='Rate it.')", "The judge's template does not name 'text'."),
        ("judge(vader, question='Is {{ text }}?')", "The judge 'vader' is no language model that is asked"),
        ("nontoxic(profanity, scale=5)", "so scale means nothing to it."),
        ("fluent('http://h/v1', scale=0)", "scale = 0 is out of range."),
        ("safe(profanity)", "safe(profanity): the judge 'profanity' reads texts alone, and not the context"),
        ("safe('http://h', question='{{ text }}?')", "the judge 'http://h' is not asked about {{ prompt }}"),
        ("nontoxic('detoxify:x')", "Detoxify has no network 'x'."),
        ("python('no_such:f')", "The reward 'no_such:f' cannot be imported"),
        ("python('json')", "The reward 'json' cannot be imported"),
    ],
)  # fmt: skip
def test_what_is_no_reward_is_shown(written, sentence):
    with pytest.raises(TrainingError) as error:
        reward_of(written)
    assert sentence in str(error.value)


def test_what_is_missing_is_told_before_training(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="none"):
        reward_of(f"nontoxic('{tmp_path}/none#x')").about()
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    with pytest.raises(MissingExtraError, match="needs the package 'alt-profanity-check'"):
        reward_of("nontoxic(profanity)")


@pytest.mark.parametrize(
    ("written", "fields", "sentence"),
    [
        ("coverage", {"words": []}, "reads the field 'concepts', which the prompt 'p' lacks. Its fields are: words."),
        ("order", {"concepts": "dog"}, "finds 'dog' in the field 'concepts', which are no words."),
        ("coverage", {"concepts": []}, "which are no words"),
        ("faithful('http://h')", {}, "reads the field 'knowledge', which the prompt 'p' lacks. Its fields are: none."),
    ],
)
def test_fields_that_prompts_lack_are_told(written, fields, sentence):
    with pytest.raises(TrainingError, match="The reward") as error:
        reward_of(written)(said("a", "b", **fields))
    assert sentence in str(error.value)


def test_what_decides_a_reward_is_plain_data(folder):
    about = reward_of(f"2 * nontoxic('{folder}#toxic') - length(least=3)").about()
    assert json.loads(json.dumps(about)) == about
    assert about["components"]["length(least=3)"] == {"kind": "length", "target": None, "least": 3, "most": None}
    assert about["components"][f"nontoxic({folder}#toxic)"]["judge"]["revision"]


def test_a_constant_reward_is_a_sentence():
    reward = reward_of("0.5 * length(2) + repetition")
    assert constant(reward(said("a b", "c d"))) == (
        "All 2 completions have the reward 0.5: nothing can be learned from them (length(2) 1, repetition 0)."
    )
    assert constant(reward(said("a b", "c"))) == constant(reward(said("a b"))) == constant(reward([])) == ""


def test_means_are_over_what_has_a_reward(functions):
    name = functions("def f(texts): return [float(text) for text in texts]")
    rewarded = reward_of(f"python('{name}:f') * length(1)")(said("1", "x", "3"))
    assert rewarded.known == [0, 2]
    assert rewarded.means() == {f"python({name}:f)": 2, "length(1)": 1}
    assert all(math.isnan(each) for each in reward_of("length(1)")([]).means().values())
