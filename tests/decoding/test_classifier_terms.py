"""Formulas with trained classifiers: what a decoder-only one says of rows is what it says of each text from scratch."""

import random
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import lmalgebra as la
from lmalgebra.algebra import Classifier
from lmalgebra.errors import CacheFullError, DecodingError, ModelError
from lmalgebra.models.base import Asked
from lmalgebra.models.causal_classifier import CausalClassifier
from lmalgebra.models.classifiers import TextClassifier
from lmalgebra.models.loaded_classifiers import LoadedClassifiers
from lmalgebra.models.loading import load
from tiny_classifiers import LETTERS, bert, llama, save_classifier, save_language_model

TOLERANCE = 1e-4
LABELS = {"id2label": {0: "no", 1: "yes"}}
START = 1
END = 0
CANDIDATES = [-1, *range(len(LETTERS))]
PROMPTS = ["abc", "bad", "a cab. a bag."]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("classifiers")
    return {
        "model": save_language_model(root / "model", llama()),
        "plain": save_classifier(root / "plain", llama(**LABELS)),
        "started": save_classifier(root / "started", llama(**LABELS), start=True),
        "ended": save_classifier(root / "ended", llama(**LABELS), end=True),
        "encoder": save_classifier(root / "encoder", bert(**LABELS)),
        "one": save_classifier(root / "one", llama(num_labels=1, max_position_embeddings=12)),
    }


@pytest.fixture(autouse=True)
def in_float32(monkeypatch) -> None:
    """Classifiers choose their own dtype, in which 1e-4 would be too much to ask."""
    monkeypatch.setattr("lmalgebra.models.loading.choose_dtype", lambda dtype, device: torch.float32)


def log_c(model, tokens: list[int], sign: int = 1) -> float:
    ids = torch.tensor([tokens or [START]])
    with torch.inference_mode():
        if model.config.model_type == "bert":
            logits = model(input_ids=ids).logits[0]
        else:  # Transformers would not read <pad> at the end of a text
            logits = model.score(model.model(input_ids=ids).last_hidden_state)[0, -1]
    return float(logits.log_softmax(-1)[1 if sign > 0 else 0])


def opened(folder: Path, model: Path, label: str = "yes", **how):
    return LoadedClassifiers().open(Classifier(str(folder), label, **how), load(str(model)), frozenset([END]))


@pytest.mark.parametrize("name", ["plain", "started"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_grow_and_shrink_score_as_texts_from_scratch(folders, name, sign, seed):
    scorer = opened(folders[name], folders["model"], sign=sign)
    assert isinstance(scorer, CausalClassifier)
    own = AutoModelForSequenceClassification.from_pretrained(folders[name]).eval()
    start = [START] if name == "started" else []
    draw = random.Random(seed)
    texts: list[list[int]] = [[] for _ in range(3)]
    states = [scorer.begin([{"role": "user", "content": "not read"}]) for _ in texts]
    for _ in range(8):
        asked = []
        for text, state in zip(texts, states, strict=True):
            del text[draw.randint(0, len(text)) :]
            first = len(text)
            text += [draw.randrange(3, len(LETTERS)) for _ in range(draw.randint(0, 4))]
            if draw.random() < 0.2:
                continue
            shape = (len(text) - first + 1, 5)
            candidates = [[draw.choice(CANDIDATES) for _ in range(shape[1])] for _ in range(shape[0])]
            asked.append(Asked(state, list(text), first, torch.tensor(candidates)))
        for each, found in zip(asked, scorer.scores(asked), strict=True):
            for end, tokens, row in zip(range(each.first, 99), each.candidates.tolist(), found.tolist(), strict=False):
                said = [*start, *each.tokens[:end]]
                before = log_c(own, said, sign)
                expected = [0 if t in (-1, END) else log_c(own, [*said, t], sign) - before for t in tokens]
                assert row == pytest.approx(expected, abs=TOLERANCE)
    for state in states:
        scorer.end(state)
    assert len(scorer._session._rows) == 0


@pytest.mark.parametrize("name", ["plain", "started"])
def test_what_they_say_of_a_text_so_far(folders, name):
    """Which is what steers a weight; scores of candidates come in between."""
    scorer = opened(folders[name], folders["model"])
    own = AutoModelForSequenceClassification.from_pretrained(folders[name]).eval()
    state = scorer.begin([{"role": "user", "content": "not read"}])
    start = [START] if name == "started" else []
    for tokens, first in (([], 0), ([3, 4], 1), ([3, 5, 6, 7], 0), ([3, 5, 4], 3)):
        (levels,) = scorer.levels([Asked(state, tokens, first)])
        said = [[*start, *tokens[:end]] for end in range(first, len(tokens) + 1)]
        assert levels.tolist() == pytest.approx([log_c(own, text) for text in said], abs=TOLERANCE)
        scorer.scores([Asked(state, tokens, len(tokens), torch.tensor([[4, 5]]))])
    scorer.end(state)


def test_which_classifiers_read_tokens(folders):
    kinds = {
        name: type(opened(folder, folders["model"], "1"))
        for name, folder in folders.items()
        if name in ("plain", "ended", "encoder")
    }
    assert kinds == {"plain": CausalClassifier, "ended": TextClassifier, "encoder": TextClassifier}
    other = la.model("toy")
    models = la.Models()
    scorer = models.scorer(Classifier(str(folders["plain"]), "yes"), models(other), frozenset())
    assert isinstance(scorer, TextClassifier)


def test_the_conversation_is_read_where_it_is_asked_for(folders):
    scorer = opened(folders["plain"], folders["model"], reads="all")
    own = AutoModelForSequenceClassification.from_pretrained(folders["plain"]).eval()
    said = [LETTERS.index(letter) for letter in "bad"]
    state = scorer.begin([{"role": "user", "content": "bad"}])
    (found,) = scorer.scores([Asked(state, [5], 0, torch.tensor([[4], [6]]))])
    expected = [[log_c(own, [*said, 4]) - log_c(own, said)], [log_c(own, [*said, 5, 6]) - log_c(own, [*said, 5])]]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["plain", "encoder"])
@pytest.mark.parametrize("speculate", ["off", "base:3", "prompt:2"])
def test_texts_have_the_log_probabilities_of_the_rule(folders, name, speculate):
    base = la.model(str(folders["model"])).term(name="base", prefix="")
    judge = la.classifier(str(folders[name]), "yes", top_k=6, name="judge")
    voice = la.voice(base + 2 * judge, models=la.Models(), speculate=speculate, max_new_tokens=12)
    samples = list(voice.generate_many(PROMPTS, samples=2))
    assert len(samples) == 6
    language, classifier = reference(folders, name)
    for sample in samples:
        prompt = [LETTERS.index(letter) for letter in PROMPTS[sample.index]]
        expected = by_hand(language, classifier, prompt, list(sample.tokens))
        assert list(sample.logprobs) == pytest.approx(expected, abs=1e-3)


def reference(folders, name):
    language = AutoModelForCausalLM.from_pretrained(folders["model"]).eval()
    return language, AutoModelForSequenceClassification.from_pretrained(folders[name]).eval()


def by_hand(language, classifier, prompt: list[int], tokens: list[int]) -> list[float]:
    """The log-probability of each token under `base + 2 * judge`, everything read from its start."""

    @cache
    def judged(said: tuple[int, ...]) -> float:
        return log_c(classifier, [token for token in said if token != END and (token > 3 or not is_text)])

    is_text = classifier.config.model_type == "bert"
    found = []
    for place, token in enumerate(tokens):
        with torch.no_grad():
            logits = language(input_ids=torch.tensor([[*prompt, *tokens[:place]]])).logits[0, -1].clone()
        for candidate in logits.topk(6).indices.tolist():
            if candidate != END:
                said = tuple(tokens[:place])
                logits[candidate] += 2 * (judged((*said, candidate)) - judged(said))
        found.append(float(logits.log_softmax(-1)[token]))
    return found


def test_terms_of_one_classifier_share_its_weights(folders, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        LoadedClassifiers,
        "_load",
        lambda self, source, load=LoadedClassifiers._load: loaded.append(source) or load(self, source),
    )
    base = la.model(str(folders["model"])).term(name="base", prefix="")
    yes, no = (la.classifier(str(folders["encoder"]), label, top_k=k) for label, k in (("yes", 3), ("no", 5)))
    la.voice(base + yes - 0.5 * no, models=la.Models(), max_new_tokens=3).generate("abc")
    assert loaded == [str(folders["encoder"])]


def test_a_label_that_is_not_there(folders):
    base = la.model(str(folders["model"])).term(name="base", prefix="")
    with pytest.raises(ModelError, match=r"has no label 'maybe'. Its labels are: 0 'no', 1 'yes'."):
        la.voice(base + la.classifier(str(folders["plain"]), "maybe"), models=la.Models()).generate("abc")


def test_a_text_that_outgrows_the_classifier(folders):
    base = la.model(str(folders["model"])).term(name="base", prefix="")
    voice = la.voice(
        base + la.classifier(str(folders["one"])), models=la.Models(), min_new_tokens=20, max_new_tokens=20
    )
    with pytest.raises(DecodingError) as refusal:
        voice.generate("abc")
    assert str(refusal.value) == (
        f"The text is longer than the 12 tokens that the classifier '{folders['one']}' can read. "
        "Generate fewer tokens, or let it read the answer only."
    )


def test_a_full_cache_names_the_classifier_and_the_text_goes_on_later(folders):
    scorer = opened(folders["plain"], folders["model"])
    states = [scorer.begin([]) for _ in range(2)]
    asked = [Asked(state, [4, 5], 2, torch.tensor([[6, 7]])) for state in states]
    scorer._session.cache.max_tokens = 128
    with pytest.raises(CacheFullError, match=r"^The classifier '.*plain': The key-value cache is full"):
        scorer.scores(asked)
    scorer.end(states[1])
    (found,) = scorer.scores(asked[:1])
    assert found.isfinite().all()
