"""Training on synthetic groups: they are told apart, a stop changes nothing, and the folder is a term."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

import lmalgebra as la
from lmalgebra.errors import LmalgebraError, MissingExtraError, TrainingError
from lmalgebra.training.checkpoints import Stopped
from lmalgebra.training.contrast.objective import Contrast
from lmalgebra.training.contrast.train import train_contrast
from training.contrast.spelled import settings, write_groups

pytest.importorskip("peft")

LONG = {"steps": 30, "evaluate_steps": 100, "checkpoint_steps": 100}


def card_of(trained):
    return json.loads((trained.folder / "lmalgebra.json").read_text())


SWAPPED = {"positives": "negatives", "negatives": "positives"}
"""Here the likelier ones are wanted: by the absolute distance, others are made likelier still."""


@pytest.mark.parametrize(
    "changes", [SWAPPED, {"distance": "signed"}, {"method": "full", "rank": 16, "distance": "signed"}]
)
def test_groups_are_told_apart_in_the_end(tmp_path, changes):
    write_groups(tmp_path / "groups.jsonl")
    trained = train_contrast(settings(tmp_path, **LONG | changes, likelihood=0.1))
    assert trained.after["margin"] > trained.before["margin"] + 0.5
    card = card_of(trained)
    assert card["losses"][-1]["loss"] < card["losses"][0]["loss"]
    assert card["measured"] == [{"step": 0, **trained.before}, {"step": 30, **trained.after}]
    assert not (tmp_path / "out-unfinished").exists()


def test_it_says_that_negatives_which_are_likelier_move_the_wrong_way(tmp_path):
    for number, changes in enumerate(({}, {"distance": "signed"}, {"objective": "positives"})):
        told = []
        train_contrast(settings(tmp_path, **changes, steps=1, output=str(tmp_path / str(number))), report=told.append)
        assert any("negatives are likelier; training makes such ones likelier still" in each for each in told) is (
            number == 0
        )


def test_an_adapter_is_a_term(tmp_path):
    trained = train_contrast(settings(tmp_path, **LONG, objective="positives"))
    small = la.model(str(tmp_path / "base"), dtype="float32")
    base, adapted = small.term(prefix="", name="base"), small.term(prefix="", name="a", adapter=str(trained.folder))
    prompt, text = "ab", "cd ef."
    plain, changed = (la.voice(each).score(prompt, text).total for each in (base, adapted))
    assert changed > plain
    both = la.voice(base + 0.7 * (adapted - base)).score(prompt, text).total
    assert both > plain
    page = (trained.folder / "README.md").read_text()
    assert 'adapter = "./out"' in page
    assert str(tmp_path / "out") not in page
    assert json.loads((trained.folder / "adapter_config.json").read_text())["base_model_name_or_path"].endswith("base")


def test_merged_weights_are_a_model_that_says_what_the_adapter_says(tmp_path):
    trained = train_contrast(settings(tmp_path, **LONG, merge=True))
    assert card_of(trained)["kind"] == "model"
    base = la.model(str(tmp_path / "base"), dtype="float32")
    adapted = base.term(prefix="", name="adapted", adapter=str(trained.folder / "adapter"))
    merged = la.model(str(trained.folder), dtype="float32").term(prefix="", name="merged")
    one, other = (la.voice(each).score("ab", "cd ef.").logprobs for each in (adapted, merged))
    assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"random_negatives": 1, "kl": 0.1, "most_negatives": 1, "accumulation": 2},
        {"method": "full", "rank": 16, "kl": 0.1},
    ],
)
def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path, changes):
    utility = {"utility": str(tmp_path / "groups.jsonl"), "utility_field": "positives", "utility_limit": 100}
    whole = train_contrast(settings(tmp_path, **changes, **utility, output=str(tmp_path / "whole")))
    seen = []
    for stop_at in (2, 7):
        with pytest.raises(Stopped, match=f"Stopped after step {stop_at} of 8. The same command with --resume"):
            train_contrast(
                settings(tmp_path, **changes, **utility),
                resume=stop_at > 2,
                advance=lambda step, steps, loss: seen.append(step),
                stop=lambda stop_at=stop_at: seen[-1] == stop_at,
            )
    stopped = train_contrast(settings(tmp_path, **changes, **utility), resume=True)
    assert card_of(stopped)["measured"] == card_of(whole)["measured"]
    assert [each["step"] for each in card_of(whole)["measured"]] == [0, 4, 8]
    name = "adapter_model.safetensors" if not changes.get("method") else "model.safetensors"
    one, other = (load_file(each.folder / name) for each in (whole, stopped))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_going_on_with_other_settings_or_data_is_refused(tmp_path):
    with pytest.raises(Stopped):
        train_contrast(settings(tmp_path), stop=lambda: True)
    with pytest.raises(TrainingError, match=r"The unfinished training has tau = 1.0, not 2.0."):
        train_contrast(settings(tmp_path, tau=2), resume=True)
    write_groups(tmp_path / "groups.jsonl", seed=1)
    with pytest.raises(TrainingError, match="The unfinished training has groups = "):
        train_contrast(settings(tmp_path), resume=True)


def test_accumulated_batches_are_one_larger_batch(tmp_path):
    one = train_contrast(settings(tmp_path, steps=2, batch_size=6, output=str(tmp_path / "one")))
    two = train_contrast(settings(tmp_path, steps=2, batch_size=3, accumulation=2, output=str(tmp_path / "two")))
    first, second = (load_file(each.folder / "adapter_model.safetensors") for each in (one, two))
    assert all(torch.allclose(first[key], second[key], atol=1e-4) for key in first)


def test_computing_activations_twice_changes_nothing(tmp_path):
    one, two = (
        train_contrast(settings(tmp_path, steps=2, gradient_checkpointing=twice, output=str(tmp_path / f"{twice}")))
        for twice in (False, True)
    )
    first, second = (load_file(each.folder / "adapter_model.safetensors") for each in (one, two))
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first)


def test_training_ends_where_utility_falls(tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "hab hcd hef."}\n{"text": "hg hga"}\n')
    limits = {"utility": str(tmp_path / "texts.jsonl"), "utility_limit": 1.5, "evaluate_steps": 2, "steps": 40}
    trained = train_contrast(settings(tmp_path, **limits, distance="signed"))
    assert trained.ended.startswith("Ended at step ")
    assert "times that at the start, above 1.5. The weights of the measurement before are taken." in trained.ended
    measured = card_of(trained)["measured"]
    assert measured[-1]["utility_perplexity"] > 1.5 * measured[0]["utility_perplexity"]
    assert trained.after["utility_perplexity"] <= 1.5 * measured[0]["utility_perplexity"]
    assert trained.ended in (trained.folder / "README.md").read_text()


@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_what_is_no_number_never_reaches_the_weights(tmp_path, monkeypatch, place):
    whole = Contrast.__call__

    def broken(self, anchors):
        calls.append(whole(self, anchors))
        if len(calls) < 5:
            return calls[-1]
        return calls[-1] * float("nan") if place == "loss" else (calls[-1] - calls[-1].detach()).sqrt() * 1e-9 + 1

    calls = []
    monkeypatch.setattr(Contrast, "__call__", broken)
    with pytest.raises(
        TrainingError, match=r"The loss is no number any more after step 4. Lower learning_rate"
    ) as error:
        train_contrast(settings(tmp_path))
    assert "the last checkpoint is kept" in str(error.value)
    weights = load_file(tmp_path / "out-unfinished" / "checkpoint-3" / "adapter_model.safetensors")
    assert all(torch.isfinite(each).all() for each in weights.values())


@pytest.mark.parametrize(
    ("objective", "key", "sign"), [("positives", "positive_perplexity", -1), ("negatives", "negative_perplexity", 1)]
)
def test_the_ablations_move_their_side(tmp_path, objective, key, sign):
    trained = train_contrast(settings(tmp_path, **LONG, objective=objective))
    assert sign * (math.log(trained.after[key]) - math.log(trained.before[key])) > 0.3


def test_a_divergence_from_the_start_holds_the_model_back(tmp_path):
    free, held = (
        train_contrast(settings(tmp_path, **LONG, distance="signed", kl=kl, output=str(tmp_path / f"kl{kl}")))
        for kl in (0, 100)
    )
    assert 0 < held.after["margin"] - held.before["margin"] < 0.5 * (free.after["margin"] - free.before["margin"])


def test_a_prompt_comes_before_each_text(tmp_path):
    trained = train_contrast(settings(tmp_path, prompt="{{ anchor }}. ", steps=2))
    assert (
        trained.before["margin"]
        != train_contrast(settings(tmp_path, steps=2, output=str(tmp_path / "plain"))).before["margin"]
    )


def test_a_judge_hears_what_is_said_after_half_a_negative(tmp_path, monkeypatch):
    (tmp_path / "heard.py").write_text("def h(texts):\n    return [min(1, text.count('h') / 20) for text in texts]\n")
    monkeypatch.syspath_prepend(tmp_path)
    trained = train_contrast(settings(tmp_path, **LONG, **SWAPPED, objective="positives", judge="heard:h"))
    assert 0 <= trained.before["judged"] < trained.after["judged"] <= 1
    with pytest.raises(LmalgebraError, match="There is no judge 'heard'"):
        train_contrast(settings(tmp_path, judge="heard", output=str(tmp_path / "other")))


def test_trackers_hear_of_it(tmp_path):
    train_contrast(settings(tmp_path, trackers="tensorboard"))
    assert list((tmp_path / "out-tracked").glob("events*"))


def test_what_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("lmalgebra.training.contrast.trainer.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="The tracker 'wandb' needs wandb, which is not installed"):
        train_contrast(settings(tmp_path, trackers="wandb"))
    monkeypatch.setattr("lmalgebra.training.contrast.network.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="Training needs PEFT"):
        train_contrast(settings(tmp_path))


def test_four_bits_need_a_gpu(tmp_path):
    with pytest.raises(
        TrainingError, match=r"method = 'qlora' needs a CUDA GPU, and here is cpu. Use method = 'lora'."
    ):
        train_contrast(settings(tmp_path, method="qlora"))


def test_unknown_targets_are_said(tmp_path):
    with pytest.raises(TrainingError, match="cannot be trained: Target modules"):
        train_contrast(settings(tmp_path, targets=["nothing"]))
    assert not list(tmp_path.glob("out*"))  # a mended command begins anew, without --resume
