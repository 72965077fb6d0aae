"""A real model guided by its own first layers: real tokens, drafts, and several requests at once."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import lmalgebra as la
from lmalgebra.models.causal_classifier import CausalClassifier

PROMPTS = ["Describe a city at night.", "Name a colour.", "héllo 🙂"]
TOP_K = 20
WEIGHT = 3
TOLERANCE = 1e-4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classifier(smollm2, tmp_path_factory):
    """The first two layers under a random head of three labels."""
    folder = tmp_path_factory.mktemp("classifier") / "layers"
    config = AutoConfig.from_pretrained(smollm2)
    config.num_hidden_layers, config.id2label = 2, {0: "low", 1: "middle", 2: "high"}
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(smollm2, config=config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("speculate", ["off", "base:4"])
def test_scores_are_those_of_each_text_from_scratch(classifier, monkeypatch, speculate):
    monkeypatch.setattr("lmalgebra.models.loading.choose_dtype", lambda dtype, device: torch.float32)
    seen = []
    scores = CausalClassifier.scores

    def watched(self, asked):
        found = scores(self, asked)
        seen.extend(
            (each.first, list(each.tokens), each.candidates, rows) for each, rows in zip(asked, found, strict=True)
        )
        return found

    monkeypatch.setattr(CausalClassifier, "scores", watched)
    base = la.model("smollm2-135m", engine="torch").term(name="base", prefix="")
    judge = la.classifier(str(classifier), "high", top_k=TOP_K, name="judge")
    voice = la.voice(base + WEIGHT * judge, models=la.Models(), speculate=speculate, max_new_tokens=10)
    assert len(list(voice.generate_many(PROMPTS, samples=2))) == 6
    own = AutoModelForSequenceClassification.from_pretrained(classifier).eval()

    def log_c(tokens: list[int]) -> float:
        ids = torch.tensor([tokens or [own.config.bos_token_id]])
        with torch.inference_mode():
            return float(own.score(own.model(input_ids=ids).last_hidden_state)[0, -1].log_softmax(-1)[2])

    assert any(len(tokens) > first for first, tokens, _, _ in seen) is (speculate != "off")
    for first, tokens, candidates, rows in seen[:: len(seen) // 12]:
        for end, tried, row in zip(range(first, len(tokens) + 1), candidates.tolist(), rows.tolist(), strict=True):
            before = log_c(tokens[:end])
            for token, score in list(zip(tried, row, strict=True))[::7]:
                if token >= 0 and token not in voice.loaded.ends:
                    assert score == pytest.approx(log_c([*tokens[:end], token]) - before, abs=TOLERANCE)
