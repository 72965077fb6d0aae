"""`lmalgebra train contrast`: from a file of groups to a folder, and what is said on the way."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.conftest import stop_a_training
from lmalgebra.cli import app
from lmalgebra.training.contrast.settings import ContrastSettings, load_settings
from tiny_classifiers import llama, save_language_model
from training.contrast.spelled import write_groups

pytest.importorskip("peft")

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def settings(tmp_path):
    """A file of settings for a training of seconds."""
    write_groups(tmp_path / "groups.jsonl")
    save_language_model(tmp_path / "base", llama())
    file = tmp_path / "c.toml"
    file.write_text(
        'data = "groups.jsonl"\nmodel = "./base"\noutput = "out"\nheld_out = 0.25\ndistance = "signed"\nrank = 4\n'
        'batch_size = 4\nlearning_rate = 1e-2\nsteps = 6\ndevice = "cpu"\ndtype = "float32"\n'
    )
    return file


def test_a_training_tells_measures_before_and_after_and_its_folder(lm, settings, tmp_path):
    done = lm("train", "contrast", settings, "--steps", 8, "--tau", 0.5, "--no-prototype-gradient", "--likelihood", 0.1)
    lines = done.stdout.splitlines()
    assert lines[0].split()[-2:] == ["before", "after"]
    assert lines[1].startswith("phi of negatives above positives, nats")
    before, after = map(float, lines[1].split()[-2:])
    assert after > before
    assert "18 groups to train on, 6 held out." in done.stderr
    assert f"Wrote {tmp_path / 'out'}." in done.stderr
    told = json.loads((tmp_path / "out" / "lmalgebra.json").read_text())["settings"]
    assert (told["steps"], told["tau"], told["prototype_gradient"]) == (8, 0.5, False)


def test_the_folder_is_a_term_of_a_voice_file(lm, settings, tmp_path):
    lm("train", "contrast", settings)
    page = (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "voice.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    done = lm("run", "voice.toml", "--prompt", "ab", "--max-new-tokens", 4, "--dtype", "float32")
    assert done.stdout.strip()
    lm("train", "contrast", settings, "--merge", "--output", "whole")
    page = (tmp_path / "whole" / "README.md").read_text()
    (tmp_path / "whole.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    assert lm("run", "whole.toml", "--prompt", "ab", "--max-new-tokens", 4, "--dtype", "float32").stdout.strip()


def test_a_mistake_is_one_sentence(lm, settings, tmp_path):
    (tmp_path / "groups.jsonl").write_text('{"positives": ["a"]}\n')
    done = lm("train", "contrast", settings, code=2)
    assert done.stderr.startswith(
        "error: groups.jsonl, line 1: there is no field 'negatives'. Its fields are: positives."
    )
    done = lm("train", "contrast", "--data", "groups.jsonl", code=2)
    assert done.stderr.startswith("error: model is not given. Add --model on the command line")


def test_every_setting_is_an_option():
    help_text = CliRunner().invoke(app, ["train", "contrast", "--help"], env={"COLUMNS": "300"}).stdout
    options = {f"--{name.replace('_', '-')}" for name in ContrastSettings.__dataclass_fields__}
    assert not {option for option in options if f"{option} " not in help_text}


TRAININGS = sorted(
    file for file in EXPERIMENTS.glob("contrastive/*.toml") if "model" in tomllib.loads(file.read_text())
)


@pytest.mark.parametrize("file", TRAININGS, ids=lambda file: file.stem)
def test_settings_of_the_experiments_are_settings(file):
    needed = {"data": "pairs.jsonl"} if "data" not in tomllib.loads(file.read_text()) else {}
    assert load_settings(file, needed).model


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(settings, tmp_path):
    stop_a_training(tmp_path, "contrast", settings, "--steps", 2000)
