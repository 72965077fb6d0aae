"""Classifiers as Transformers saves them: what they say of texts, however the texts are batched."""

import json

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForSequenceClassification

from lmalgebra.errors import ModelError
from lmalgebra.models import sequence_classifier
from lmalgebra.models.sequence_classifier import CARD, SequenceClassifier, load_classifier
from tiny_classifiers import CONTEXT, bert, letters, llama, save_classifier, save_language_model

TEXTS = ["abc", "a", "bad cab. " * 9, "", "h", "gab a bag.", "egg", "fad bed", "abc"]


def loaded(folder) -> SequenceClassifier:
    return load_classifier(str(folder), dtype="float32", device="cpu")


@pytest.fixture(scope="module", params=["bert", "llama", "llama, start"])
def folder(request, tmp_path_factory):
    config = bert if request.param == "bert" else llama
    return save_classifier(
        tmp_path_factory.mktemp("tiny") / "c", config(id2label={0: "no", 1: "yes"}), start="start" in request.param
    )


def test_a_batch_gives_what_each_text_gives_alone(folder, monkeypatch):
    monkeypatch.setattr(sequence_classifier, "WASTED_TOKENS", 5)
    monkeypatch.setattr(sequence_classifier, "PASS_TOKENS", 200)
    found = loaded(folder).logits(TEXTS)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, logits in zip(TEXTS, found, strict=True):
        ids = loaded(folder).tokens([text])
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor(ids)).logits[0]
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_texts_of_late_are_not_read_again(folder, monkeypatch):
    classifier = loaded(folder)
    first = classifier.logits(TEXTS)
    monkeypatch.setattr(classifier, "_pass", None)
    torch.testing.assert_close(classifier.logits(TEXTS[::-1]), first.flip(0))


def test_probabilities_are_the_labels(folder):
    classifier = loaded(folder)
    yes, no = (classifier.probabilities(TEXTS, label) for label in ("yes", "no"))
    assert [a + b for a, b in zip(yes, no, strict=True)] == pytest.approx([1.0] * len(TEXTS))
    assert len(set(yes)) == len(set(TEXTS))
    assert classifier.probabilities([], "yes") == []


def test_of_a_long_text_the_end_is_read(folder):
    classifier = loaded(folder)
    long = "abcdefgh" * 40
    (tokens,) = classifier.tokens([long])
    assert len(tokens) == CONTEXT
    assert letters().decode(tokens[-8:]) == "abcdefgh"
    assert classifier.logits([long]).isfinite().all()


def test_control_tokens_that_a_text_spells_are_plain_characters(folder):
    (tokens,) = loaded(folder).tokens(["a<end>"])
    assert 0 not in tokens


def test_a_temperature_divides_the_logits(folder, tmp_path):
    plain = loaded(folder).logits(["abc"])
    (folder / CARD).write_text(json.dumps({"temperature": 2.0}))
    try:
        torch.testing.assert_close(loaded(folder).logits(["abc"]), plain / 2)
    finally:
        (folder / CARD).unlink()


def test_in_bfloat16_the_head_computes_in_float32(folder):
    exact, rounded = loaded(folder).logits(TEXTS), load_classifier(str(folder), dtype="bfloat16").logits(TEXTS)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.2
    assert not torch.equal(rounded, rounded.bfloat16().float())


def test_a_language_model_is_no_classifier(tmp_path):
    folder = save_language_model(tmp_path / "lm", llama())
    with pytest.raises(ModelError) as refusal:
        loaded(folder)
    assert str(refusal.value) == (
        f"'{folder}' has no head of the kind that is needed: score.weight is missing. la.classifier takes classifiers, "
        "as `lmalgebra train classifier` makes them; la.model language models."
    )


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        loaded(tmp_path)


def test_a_folder_without_a_tokenizer(tmp_path):
    folder = save_classifier(tmp_path / "judge", bert())
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError) as refusal:
        loaded(folder)
    assert str(refusal.value) == (
        f"'{folder}' has no tokenizer: no token of it says anything. "
        "Save the tokenizer there, too, with its save_pretrained."
    )


def test_weights_that_are_cut_short(tmp_path):
    file = save_classifier(tmp_path / "judge", bert()) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError) as refusal:
        loaded(file.parent)
    assert str(refusal.value).startswith(f"The model '{file.parent}' cannot be loaded: ")
    assert str(refusal.value).endswith(". Check the name, the network, and that the files of the weights are whole.")


def test_a_pair_is_read_as_its_tokenizer_parts_it(tmp_path):
    folder = save_classifier(tmp_path / "pairs", bert())
    classifier = load_classifier(str(folder), dtype="float32")
    classifier.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's own has
    inner = classifier.tokenizer.backend_tokenizer
    inner.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>",
        pair="<start> $A <end> $B:1 <end>:1",
        special_tokens=[("<start>", 1), ("<end>", 0)],
    )
    pairs = [("abc", "dad"), ("abcdefgh", "a"), ("h", "hh")]
    ids, segments = classifier._read(pairs)
    assert segments[0] == [0] * 5 + [1] * 4
    alone = torch.cat(
        [
            classifier.model(input_ids=torch.tensor([one]), token_type_ids=torch.tensor([two])).logits
            for one, two in zip(ids, segments, strict=True)
        ]
    )
    assert torch.allclose(classifier.logits(pairs), alone, atol=1e-5)
    assert not torch.allclose(classifier.logits([("abc", "dad")]), classifier.logits([("abcdad", "")]), atol=1e-3)
    with pytest.raises(ModelError, match="Texts and pairs of texts are given at once"):
        classifier.logits(["abc", ("abc", "bad")])


def test_a_tokenizer_without_separator_parts_a_pair_by_a_line(tmp_path):
    classifier = load_classifier(str(save_classifier(tmp_path / "lines", llama())), dtype="float32")
    assert classifier.tokens([("ab", "c")]) == classifier.tokens(["ab\nc"])
    long = "a" * (CONTEXT + 5)
    assert classifier.tokens([(long, "c")])[0][-2:] == classifier.tokens(["\nc"])[0]
