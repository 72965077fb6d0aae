"""`lmalgebra train classifier`: from a file of examples to a folder, and what is said on the way."""

import json

import pytest

from cli.conftest import stop_a_training
from training.classifiers.synthetic import save_base, write_examples

pytest.importorskip("sklearn")


@pytest.fixture
def settings(tmp_path):
    """A file of settings for a training of seconds."""
    write_examples(tmp_path / "data.jsonl")
    save_base(tmp_path / "base", "llama")
    file = tmp_path / "t.toml"
    file.write_text(
        'data = "data.jsonl"\nmodel = "./base"\noutput = "out"\nscore = "target"\nname = "bad"\nheld_out = 0.25\n'
        'batch_size = 8\nlearning_rate = 5e-3\nepochs = 2\ndevice = "cpu"\n'
    )
    return file


def test_a_training_tells_its_metrics_and_its_folder(lm, settings, tmp_path):
    done = lm("train", "classifier", settings, "--epochs", 4, "--seed", 1)
    names = [line.rpartition("  ")[0].strip() for line in done.stdout.splitlines()]
    assert names[:3] == ["examples trained on", "examples held out", "cross-entropy, nats"]
    assert "90 examples to train on, 30 held out." in done.stderr
    assert f"Wrote {tmp_path / 'out'}." in done.stderr
    card = json.loads((tmp_path / "out" / "lmalgebra.json").read_text())
    assert (card["settings"]["epochs"], card["settings"]["seed"], card["labels"]) == (4.0, 1, ["bad"])
    assert "examples held out" in (tmp_path / "out" / "README.md").read_text()


def test_a_mistake_is_one_sentence(lm, settings, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"text": "a", "target": 2}\n')
    done = lm("train", "classifier", settings, code=2)
    sentence = "data.jsonl, line 1: 'target' is 2, which is no score from 0 to 1. Mend or remove the line."
    assert done.stderr == f"error: {sentence}\n"
    done = lm("train", "classifier", "--data", "data.jsonl", code=2)
    assert done.stderr.startswith("error: model is not given. Add --model on the command line")


def test_without_the_extra_it_says_how_to_install_it(lm, settings, monkeypatch):
    monkeypatch.setattr("lmalgebra.training.classifiers.train.find_spec", lambda name: None)
    done = lm("train", "classifier", settings, code=2)
    assert done.stderr == (
        "error: Training needs scikit-learn, which is not installed. Install it with: pip install 'lmalgebra[train]'\n"
    )


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(settings, tmp_path):
    stop_a_training(tmp_path, "classifier", settings, "--epochs", 200)
