"""Training on a tiny network: rewards rise, a stop changes nothing, and what ends early or fails says so."""

import errno
import json
import math

import pytest
import torch
from safetensors.torch import load_file

import lmalgebra as la
from lmalgebra.errors import TrainingError
from lmalgebra.training.checkpoints import Stopped
from lmalgebra.training.policies import state
from training.policies.runs import Watched, save_other_vocabulary, settings, share_of_a, train


def weights(folder):
    return load_file(next(folder.glob("*model.safetensors")))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("objective", ["quark", "ppo"])
def test_the_reward_rises(tmp_path, objective):
    changes = {"formula": "adapter", "steps": 8, "samples": 8, "batch_size": 16, "beta": 0.01, "pool": 64}
    watched = Watched()
    trained = train(settings(tmp_path, objective=objective, **changes), watched=watched)
    rewards = [each["reward"] for each in watched.told]
    assert math.fsum(rewards[-2:]) > 4 * math.fsum(rewards[:2])
    first, last = trained.validation
    assert last["policy"]["reward"] > first["base"]["reward"] + 0.2
    assert last["policy"]["kl"] > 0.1


@pytest.mark.parametrize(
    "changes",
    [{}, {"objective": "rloo", "beta_target": 0.2, "gamma": 0.01, "gamma_target": 1.0}, {"kind": "model", "pool": 24}],
)
def test_a_training_that_was_stopped_ends_with_the_same_parameters(tmp_path, changes):
    train(settings(tmp_path, output=str(tmp_path / "whole"), steps=5, **changes))
    chosen = settings(tmp_path, steps=5, **changes)
    for stop_at in (1, 4):
        with pytest.raises(Stopped, match=f"Stopped after step {stop_at} of 5. The same command with --resume goes on"):
            train(chosen, resume=stop_at > 1, until=stop_at)
    watched = Watched()
    train(chosen, resume=True, watched=watched)
    assert watched.steps == [5]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "out"))
    files = [tmp_path / name / "steps.jsonl" for name in ("whole", "out")]
    lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    for each in (*lines[0], *lines[1]):
        each.pop("seconds")
    assert lines[0] == lines[1]


def test_the_folder_is_a_voice_that_says_what_was_trained(tmp_path):
    train(settings(tmp_path, steps=2))
    (tmp_path / "elsewhere").mkdir()
    folder = (tmp_path / "out").rename(tmp_path / "elsewhere" / "moved")
    models = la.Models()
    voice = la.load(folder / "voice.toml", models=models)
    assert str(voice.formula) == "base + tilt(adapter)"
    terms = {term.name: term.description for term in voice.voice.terms}
    assert terms["adapter"].prefix == "good "
    assert terms["adapter"].adapter == str(folder)
    assert terms["adapter"].model == terms["base"].model
    assert terms["base"].model.engine == "torch"  # "auto" may be llama.cpp, which does not read the adapter
    assert voice.generate("abc", max_new_tokens=4).samples[0].tokens
    card = json.loads((folder / "lmalgebra.json").read_text())
    assert (card["objective"], card["term"], card["settings"]["ended"]) == ("quark", "adapter", "")
    assert set(card["metrics"]) >= {"reward", "reward of the base", "reward before training"}
    assert not (tmp_path / "out-unfinished").exists()


def test_a_voice_file_may_say_what_learns(tmp_path):
    chosen = settings(tmp_path)
    (tmp_path / "own.toml").write_text(
        'formula = "base"\n[models.small]\nsource = "./letters"\n[terms.base]\nmodel = "small"\nprefix = ""\n'
        '[terms.good]\nmodel = "small"\nprefix = "good "\n'
    )
    changes = {"voice": str(tmp_path / "own.toml"), "formula": "base + 0.5 * (good - base)", "train": "good"}
    train(settings(tmp_path, objective="rloo", steps=1, **changes))
    text = (tmp_path / "out" / "voice.toml").read_text()
    assert 'formula = "base + 0.5 * (good - base)"' in text
    assert 'prefix = "good "\nadapter = "."' in text
    assert chosen.model


class Bad:
    """A component that does `what` from the batch `begin` on."""

    def __init__(self, what, begin):
        self.name, self.what, self.begin, self.batches = "bad", what, begin, 0

    def about(self):
        return {}

    def __call__(self, said):
        self.batches += 1
        good = share_of_a([each.text for each in said])
        return self.what(good) if self.batches >= self.begin else good


def fails(good):
    raise ZeroDivisionError("by zero")


@pytest.mark.parametrize(
    ("what", "begin", "sentence"),
    [
        (lambda good: [0.5] * len(good), 3, "All 16 completions have the reward 0.5: nothing can be learned from them"),
        (
            fails,
            5,
            "The reward 'bad' has no score for any of 16 completions: it fails with ZeroDivisionError: by zero.",
        ),
        (
            lambda good: [math.nan] * len(good),
            5,
            "The reward 'bad' has no score for any of 16 completions: it gives nan.",
        ),
    ],
)
def test_rewards_from_which_nothing_can_be_learned(tmp_path, what, begin, sentence):
    chosen = settings(tmp_path, reward="bad", checkpoint_steps=100)
    with pytest.raises(TrainingError) as refusal:  # two batches are of the held-out prompts
        train(chosen, rewards={"bad": Bad(what, begin)})
    assert str(refusal.value).startswith(sentence)
    if begin == 5:  # the third step: two are in a checkpoint, and a mended reward goes on
        watched = Watched()
        train(chosen, rewards={"bad": Bad(what, 1000)}, resume=True, watched=watched)
        assert watched.steps == [3, 4]


def test_completions_without_a_reward_are_left_out(tmp_path):
    def some(good):
        return [math.nan if place % 4 else each for place, each in enumerate(good)]

    watched = Watched()
    train(settings(tmp_path, reward="bad", steps=2), rewards={"bad": Bad(some, 3)}, watched=watched)
    assert [each["left_out"] for each in watched.told] == [12, 12]


def test_it_ends_early_with_the_best_parameters(tmp_path):
    watched = Watched()
    chosen = settings(
        tmp_path, formula="adapter", steps=8, samples=8, batch_size=16, pool=64, max_kl=1.55, learning_rate=0.006
    )
    trained = train(chosen, watched=watched)
    last = len(watched.told)
    assert 1 < last < 8
    assert trained.ended.startswith(f"Ended at step {last + 1}. The policy is ")
    assert trained.ended.endswith(" nats per token from the reference, beyond max_kl = 1.55.")
    assert json.loads((trained.folder / "lmalgebra.json").read_text())["settings"]["ended"] == trained.ended
    assert 1 < trained.validation[-1]["step"] + 1 <= last  # measured after the parameters were put back


def test_what_ended_before_it_learned_leaves_nothing(tmp_path):
    with pytest.raises(TrainingError) as refusal:
        train(settings(tmp_path, max_kl=0.01, trackers=("tensorboard",)))
    assert str(refusal.value).endswith("Nothing was learned before. Lower learning_rate, or raise beta.")
    assert not list(tmp_path.glob("out*"))


def test_what_could_not_begin_leaves_nothing(tmp_path):
    with pytest.raises(TrainingError, match="has no linear layers called 'nothing'"):
        train(settings(tmp_path, targets=("nothing",)))
    assert not (tmp_path / "out-unfinished").exists()


def test_controls_that_the_model_cannot_tell_apart_are_refused(tmp_path):
    with pytest.raises(TrainingError) as refusal:
        train(settings(tmp_path, controls=("1\n", "2\n")))
    assert "The controls '1\\n' and '2\\n' are the same tokens for" in str(refusal.value)


def test_a_loss_that_is_no_number_keeps_the_best_parameters(tmp_path, monkeypatch):
    from lmalgebra.training.policies import learning

    whole, calls = learning.quark_loss, []

    def torn(judged, beta, gamma):
        calls.append(1)
        return whole(judged, math.nan if len(calls) > 12 else beta, gamma)

    monkeypatch.setattr(learning, "quark_loss", torn)
    trained = train(settings(tmp_path, steps=6))
    assert trained.ended == "The loss of update 13 is nan."
    assert all(each.isfinite().all() for each in weights(trained.folder).values())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    chosen = settings(tmp_path, checkpoint_steps=1)
    with pytest.raises(Stopped):
        train(chosen, until=2)
    with monkeypatch.context() as patch:
        patch.setattr(state, "write_lines", _full)
        with pytest.raises(TrainingError) as refusal:
            train(chosen, resume=True)
    assert str(refusal.value) == (
        f"The disk of {tmp_path} is full. "
        "Free some room; the same command with --resume goes on from the last checkpoint."
    )
    names = sorted(each.name for each in (tmp_path / "out-unfinished").iterdir())
    assert names == ["checkpoint-1", "checkpoint-2", "settings.json"]
    watched = Watched()
    train(chosen, resume=True, watched=watched)
    assert watched.steps == [3, 4]


def _full(*given):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_adapter_of_another_vocabulary_is_refused(tmp_path):
    chosen = settings(tmp_path, kind="model", adapter_model=str(tmp_path / "other"))
    save_other_vocabulary(tmp_path / "other")
    with pytest.raises(la.LmalgebraError, match="have different vocabularies"):
        train(chosen)
