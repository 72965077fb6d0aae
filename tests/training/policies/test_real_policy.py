"""A LoRA on a real model's own weights: judged as the decoder scores, learned from, saved and loaded as a term."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.training.policies.policy import FormulaPolicy
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.trainee import open_lora
from training.policies.learning import disturb

PROMPT = "Describe a city at night."
ROUNDING = {"float32": 3e-5, "bfloat16": 0.2}
"""Nats by which log-probabilities may differ on average, for two terms of thirty layers. In bfloat16 the decoder's own
differ by 0.09 as texts are read together or alone."""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_model_learns_under_its_chat_template(smollm2, tmp_path, dtype):
    models, model = la.Models(), la.model(str(smollm2), dtype=dtype, device="cpu")
    base, adapter = model.term(name="base"), model.term(name="adapter", system="Be brief.")
    described = la.voice(base + 0.8 * la.tilt(adapter), models=models, max_new_tokens=6).voice
    trainee = open_lora(adapter, models, rank=4, targets=("q_proj", "v_proj"))
    disturb(trainee, 0.01)
    policy = FormulaPolicy(described, "adapter", trainee, models, models.scorer)
    said = Rollouts(policy).sample([PROMPT], samples=2, seed=0)
    assert said == Rollouts(policy).sample([PROMPT], samples=2, seed=0)
    texts = [each.text for each in said]
    tokens = [policy.tokenizer.encode([text], start=False) for text in texts]

    def distance(voice):
        scores = [each for score in voice.score_many([(PROMPT, text) for text in texts]) for each in score.logprobs]
        return (policy.judge([PROMPT] * 2, tokens).chosen.detach() - torch.tensor(scores)).abs().mean().item()

    assert distance(policy.voice()) < ROUNDING[dtype]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    before = policy.judge([PROMPT] * 2, tokens)
    (-before.chosen.mean()).backward()
    optimizer.step()
    assert policy.judge([PROMPT] * 2, tokens).chosen.mean() > before.chosen.mean() + 0.1
    assert distance(policy.voice()) < ROUNDING[dtype]
    trainee.save(tmp_path)
    learned = model.term(name="adapter", system="Be brief.", adapter=str(tmp_path))
    assert distance(la.voice(base + 0.8 * la.tilt(learned), models=models)) < ROUNDING[dtype]
