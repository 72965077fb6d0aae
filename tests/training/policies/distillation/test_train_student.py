"""Distilling on tiny networks: the student comes nearer, a stop changes nothing, and what cannot be says so."""

import json

import pytest
import torch
from safetensors.torch import load_file

import lmalgebra as la
from lmalgebra.errors import TrainingError
from lmalgebra.training.checkpoints import Stopped
from training.policies.distillation.runs import distilled, settings
from training.policies.runs import Watched, save_other_vocabulary


def weights(folder):
    return load_file(next(folder.glob("*model.safetensors")))


def test_it_learns_to_speak_like_a_formula(tmp_path):
    result = distilled(settings(tmp_path, steps=40, samples=8, prompts_per_step=9, batch_size=24, warmup=0.0))
    first, last = result.validation
    assert str(result.teacher) == "base + 1.5 * (good - base)"
    assert first["kl"] > 0.01
    assert last["kl"] < 0.5 * first["kl"]
    assert last["student"] < first["student"]
    models = la.Models()
    voice = la.load(result.folder / "voice.toml", models=models)
    assert str(voice.formula) == "student"
    assert voice.generate("abc", max_new_tokens=3).samples[0].tokens
    card = json.loads((result.folder / "lmalgebra.json").read_text())
    assert (card["objective"], card["teacher"]) == ("distillation", str(result.teacher))
    assert card["metrics"]["nats per token from the teacher"] == last["kl"]
    assert "to speak like" in (result.folder / "README.md").read_text()


@pytest.mark.parametrize(
    "changes",
    [{"kind": "lora"}, {"model": "letters", "layers": 1, "texts": "student"}, {"texts": "given", "samples": 1}],
)
def test_a_distillation_that_was_stopped_ends_with_the_same_parameters(tmp_path, changes):
    if "model" in changes:
        changes = changes | {"model": str(tmp_path / "letters")}
    distilled(settings(tmp_path, output=str(tmp_path / "whole"), **changes))
    chosen = settings(tmp_path, **changes)
    for stop_at in (1, 3):
        with pytest.raises(Stopped, match=f"Stopped after step {stop_at} of 4. The same command with --resume goes on"):
            distilled(chosen, resume=stop_at > 1, until=stop_at)
    watched = Watched()
    result = distilled(chosen, resume=True, watched=watched)
    assert watched.steps == [4]
    whole, out = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert whole.keys() == out.keys()
    assert all(torch.equal(whole[name], out[name]) for name in whole)
    whole_card = json.loads((tmp_path / "whole" / "lmalgebra.json").read_text())
    assert result.validation == whole_card["settings"]["validation"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "small"}, "The student would be its teacher, 'small'. Name a student_model, or give layers or"),
        ({"texts": "given"}, "samples are drawn, and texts are given. Leave samples out."),
        ({"texts": "all"}, "texts = 'all' is unknown. Known: teacher, student, given."),
        ({"student_model": "x"}, "The voice has a term `student`, so student_model means nothing. Leave one out,"),
        ({"train": "pupil"}, "has no term `pupil` to train. Name a student_model, or train one of `base`, `good`,"),
        ({"texts": "given", "samples": 1, "answer": "reply"}, "has no text in 'reply'. Name the field that has it by"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(TrainingError) as refusal:
        distilled(settings(tmp_path, **changes))
    assert sentence in str(refusal.value)
    assert not (tmp_path / "out-unfinished").exists()


def test_a_student_of_another_vocabulary_is_refused(tmp_path):
    chosen = settings(tmp_path, train="pupil", student_model=str(tmp_path / "other"))
    save_other_vocabulary(tmp_path / "other")
    with pytest.raises(la.LmalgebraError, match="have different vocabularies"):
        distilled(chosen)
