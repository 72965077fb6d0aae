"""Training on synthetic texts: the loss falls, a stop changes nothing, and the folder is a term."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import lmalgebra as la
from lmalgebra.errors import TrainingError
from lmalgebra.judges import judge_of
from lmalgebra.models.sequence_classifier import load_classifier
from lmalgebra.training.checkpoints import Stopped
from lmalgebra.training.classifiers.train import train_classifier
from training.classifiers.synthetic import settings

pytest.importorskip("sklearn")


@pytest.mark.parametrize(("kind", "target"), [("llama", "score"), ("bert", "score"), ("llama", "label")])
def test_the_loss_falls_and_the_folder_tells_bad_from_good(tmp_path, kind, target):
    trained = train_classifier(settings(tmp_path, kind, target, epochs=6.0, name="bad"))
    card = json.loads((trained.folder / "lmalgebra.json").read_text())
    assert card["losses"][-1]["loss"] < 0.8 * card["losses"][0]["loss"]
    assert trained.metrics["auc"] > 0.9
    assert card["metrics"] == trained.metrics
    label = "bad" if target == "score" else "true"
    bad, good = load_classifier(str(trained.folder), dtype="float32").probabilities(["abhhc.", "abcde."], label)
    assert bad > good + 0.3
    assert not (tmp_path / "out-unfinished").exists()


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_classifier_of_pairs_tells_by_both(tmp_path, kind):
    lines = [{"first": a, "text": b, "target": a == b} for a in ("h.", "a.") for b in ("h.", "a.")] * 30
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    trained = train_classifier(settings(tmp_path, kind, "label", epochs=8.0, pair="first"))
    judge = judge_of(f"{trained.folder}#true")
    assert judge.reads_prompt
    scores = judge.scores([["h.", "h."], ["h.", "a."], ["a.", "a."], ["a.", "h."]])
    assert min(scores[0], scores[2]) > max(scores[1], scores[3]) + 0.5
    assert "read as a pair after `first`" in (trained.folder / "README.md").read_text()


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path, kind):
    chosen = settings(tmp_path, kind, output=str(tmp_path / "whole"))
    train_classifier(chosen)
    seen = []
    for stop_at in (5, 11):
        with pytest.raises(Stopped, match=f"Stopped after step {stop_at} of 24. The same command with --resume"):
            train_classifier(
                settings(tmp_path, kind),
                resume=stop_at > 5,
                advance=lambda step, steps, loss: seen.append(step),
                stop=lambda stop_at=stop_at: seen[-1] == stop_at,
            )
    train_classifier(settings(tmp_path, kind), resume=True, advance=lambda step, steps, loss: seen.append(step))
    assert seen == [*range(6), *range(5, 12), *range(11, 25)]
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    with pytest.raises(Stopped):
        train_classifier(settings(tmp_path), stop=lambda: True)
    torn = tmp_path / "out-unfinished" / "checkpoint-9"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"half')
    train_classifier(settings(tmp_path), resume=True)
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    ("changes", "trained"), [({"head_only": True}, {"score.weight"}), ({"lora": 2}, {"score.weight", "q_proj"})]
)
def test_only_what_is_chosen_is_trained(tmp_path, changes, trained):
    folder = train_classifier(settings(tmp_path, **changes)).folder
    before = AutoModelForSequenceClassification.from_pretrained(tmp_path / "llama").state_dict()
    after = load_file(folder / "model.safetensors")
    changed = {name for name, weights in after.items() if name in before and not torch.equal(weights, before[name])}
    assert "score.weight" in after
    assert {name for name in changed if "embed" in name or "norm" in name} == set()
    assert any("q_proj" in name for name in changed) is ("q_proj" in trained)


def test_the_first_layers_may_be_enough(tmp_path):
    folder = train_classifier(settings(tmp_path, layers=1)).folder
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 1
    assert not any("layers.1." in name for name in load_file(folder / "model.safetensors"))


def test_a_trained_classifier_is_a_term_that_reads_tokens(tmp_path):
    folder = train_classifier(settings(tmp_path, epochs=6.0, name="bad")).folder
    base = la.model(str(tmp_path / "llama")).term(name="base", prefix="")
    models = la.Models()
    texts = {}
    for weight in (-8, 8):
        voice = la.voice(base + weight * la.classifier(str(folder), "bad"), models=models, max_new_tokens=20)
        texts[weight] = "".join(sample.text for sample in voice.generate("abc", samples=8).samples)
    assert texts[8].count("h") > 2 * texts[-8].count("h")
    (scorer,) = voice.loaded.scorers.values()
    assert type(scorer).__name__ == "CausalClassifier"
    assert scorer.begin([]).before == [1]  # the start token, which training put before each text


@pytest.mark.parametrize(
    ("prepare", "changes", "resume", "sentence"),
    [
        ("output", {}, False, "The output '{out}' is already there, and is left as it is. Name another folder."),
        (
            "stopped",
            {},
            False,
            "'{out}-unfinished' holds an unfinished training. Add --resume to go on with it, or remove it.",
        ),
        (
            "stopped",
            {"seed": 3},
            True,
            "The unfinished training has seed = 0, not 3. "
            "Go on with the same settings and data, or name another output.",
        ),
        ("", {}, True, "There is no '{out}-unfinished' to go on with. Leave --resume out."),
        ("", {"layers": 9}, False, "'{base}' has 2 layers, not 9. Lower layers."),
    ],
)
def test_what_cannot_be_begun(tmp_path, prepare, changes, resume, sentence):
    if prepare == "output":
        (tmp_path / "out").mkdir()
    if prepare == "stopped":
        with pytest.raises(Stopped):
            train_classifier(settings(tmp_path), stop=lambda: True)
    with pytest.raises(TrainingError) as refusal:
        train_classifier(settings(tmp_path, **changes), resume=resume)
    assert str(refusal.value) == sentence.format(out=tmp_path / "out", base=tmp_path / "llama")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def refuse(self, *given, **options):
        raise OSError(28, "No space left on device")

    with pytest.raises(Stopped):
        train_classifier(settings(tmp_path), stop=lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr("transformers.Trainer._save_optimizer_and_scheduler", refuse)
        with pytest.raises(TrainingError) as refusal:
            train_classifier(settings(tmp_path), resume=True)
    assert str(refusal.value) == (
        f"The disk of {tmp_path} is full. "
        "Free some room; the same command with --resume goes on from the last checkpoint."
    )
    train_classifier(settings(tmp_path), resume=True)
