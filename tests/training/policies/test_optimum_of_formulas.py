"""The same optimum, with everything real: a formula over an exact toy, samples of the engine, the loop's learners."""

import json

import pytest
import torch

import lmalgebra as la
from lmalgebra.algebra import GenerationSettings, Voice
from lmalgebra.prompt_sets import Item
from lmalgebra.training.policies.explore import explored_of, survey
from lmalgebra.training.policies.learning import (
    Coefficients,
    GradientLearner,
    QuarkLearner,
    Updates,
    Work,
    planned_updates,
)
from lmalgebra.training.policies.per_token import summed
from lmalgebra.training.policies.policy import FormulaPolicy
from lmalgebra.training.policies.pool import Pool
from lmalgebra.training.policies.rewards import reward_of
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.policies.toy_network import ToyNetwork
from lmalgebra.training.policies.trackers import open_accelerator
from training.policies.exact_policy import (
    ALL,
    END_TOKEN,
    PIECES,
    TABLE,
    best_at,
    distance,
    divergence,
    expected,
    optimum,
    reward,
)

PROMPT = "a"


class Known:
    """The exact policy's reward, of texts."""

    name = "known"

    def about(self):
        return {}

    def __call__(self, said):
        return [reward(tokens_of(each.text)) for each in said]


def tokens_of(text):
    tokens = tuple(PIECES.index(letter) for letter in text)
    return tokens if len(tokens) == 3 else (*tokens, END_TOKEN)


def learned(tmp_path, **changes):
    """The laws of all texts under policy and reference, float64, after a training over `base + tilt(adapter)`."""
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"pieces": PIECES, "end": TABLE.end, "seed": TABLE.seed, "sharpness": TABLE.sharpness}))
    base = la.model(str(file)).term(name="base", prefix="")
    adapter = la.model(str(file)).term(name="adapter", prefix="")
    models, network = la.Models(), ToyNetwork(TABLE, order=3, sees_first=True)
    policy = FormulaPolicy(Voice(base + la.tilt(adapter)), "adapter", network, models, models.scorer)
    values = {"prompts": "-", "reward": "known", "output": "-", "model": "toy", "prompts_per_step": 1, "warmup": 0.01}
    settings = AdapterSettings(**values | changes)
    work = work_of(policy, settings, tmp_path)
    pool = Pool(settings.controls) if settings.objective == "quark" else None
    learner = GradientLearner(work) if pool is None else QuarkLearner(work, pool)
    rollouts, known = Rollouts(policy, GenerationSettings(max_new_tokens=3)), reward_of("known", {"known": Known()})
    for step in range(settings.steps):
        drawn = {"samples": settings.samples, "seed": 1000 * step, "control": settings.best_control}
        said = rollouts.sample([PROMPT], **drawn)
        explored = explored_of(lambda share, said=said: said, known, [Item(PROMPT)], settings.samples)
        learner.learn(explored, survey(policy, explored.rollouts, settings.best_control, settings.samples), step)
    return laws(policy, settings.best_control)


def work_of(policy, settings, folder):
    accelerator = open_accelerator(("none",), folder, "cpu", {}, print)
    updates = Updates(list(policy.trainee.parameters()), settings, planned_updates(settings, settings.samples))
    return Work(settings, policy, accelerator, updates, Coefficients.of(settings))


@torch.no_grad()
def laws(policy, control):
    judged = policy.judge([PROMPT] * len(ALL), ALL, [control] * len(ALL))
    both = [each.double().gather(1, judged.tokens[:, None])[:, 0] for each in (judged.policy, judged.reference)]
    found = [summed(each, judged.owner, len(ALL)) for each in both]
    assert [each.exp().sum().item() for each in found] == pytest.approx([1, 1])
    return found


def test_rloo_reaches_the_closed_form(tmp_path):
    changes = {"samples": 64, "batch_size": 64, "steps": 60, "learning_rate": 0.1, "max_grad_norm": 100.0}
    law, reference = learned(tmp_path, objective="rloo", beta=0.5, **changes)
    best = optimum(reference, 0.5)
    assert distance(reference, best) > 0.2
    assert distance(law, best) < 0.05
    assert divergence(law, best) < 0.01


def test_quark_moves_towards_it(tmp_path):
    changes = {"samples": 96, "batch_size": 64, "steps": 12, "learning_rate": 0.1, "controls": ("a", "b", "c")}
    law, reference = learned(tmp_path, beta=0.3, **changes)
    nats = divergence(law, reference)
    gain, most = expected(law) - expected(reference), best_at(reference, nats) - expected(reference)
    assert gain > 0.1
    assert 0.7 * most < gain <= most
