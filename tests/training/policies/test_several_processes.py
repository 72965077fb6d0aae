"""Trainings that two processes share end as those of one do: real processes, which speak to each other by gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from lmalgebra.errors import TrainingError
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.processes import Processes
from training.policies import launched, runs
from training.policies.distillation import runs as distillations

TESTS = Path(__file__).parents[2]
PARAMETERS = 2e-4
"""How far parameters of float32, which move by 0.01 and more, may lie from each other: AdamW divides by the size of a
gradient, and so makes much of the rounding of small ones."""
NUMBERS = 1e-4
EXACT = 1e-9
"""The same in float64."""


def launcher(*command: str, processes: int = 2) -> list[str]:
    """The command that starts it in several processes, on a port that is free."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*run, "-m", *command]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def launch(*command: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        launcher(*command, processes=processes), env=environment(), capture_output=True, text=True, timeout=900
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where one process has trained, and where two will."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for folder in (one, two):
        (folder / "distillations").mkdir()
        settings_file(folder)
        distillations.settings(folder / "distillations")
    launched.same_everywhere(one)
    return one, two


@pytest.fixture(scope="module")
def told(folders):
    """What two processes have told."""
    ended = launch("training.policies.launched", str(folders[1]))
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def weights(folder: Path):
    return load_file(next(folder.glob("*model.safetensors")))


def assert_near(first, second, tolerance):
    assert first.keys() == second.keys()
    for name, each in first.items():
        torch.testing.assert_close(second[name], each, rtol=0, atol=tolerance, msg=lambda told, name=name: name + told)


def numbers_of(folder: Path):
    """All numbers that were measured at each step and on held-out prompts, and the samples."""
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    for each in steps:
        each.pop("seconds")
    found, texts = {}, []

    def collect(value, name):
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, each in pairs:
                collect(each, f"{name}.{key}")
        elif isinstance(value, int | float):
            found[name] = value
        else:
            texts.append((name, value))

    collect(steps, "steps")
    collect(json.loads((folder / "lmalgebra.json").read_text())["settings"]["validation"], "validation")
    return found, texts


@pytest.mark.parametrize("name", [*launched.TRAININGS, *launched.DISTILLATIONS])
def test_two_processes_reach_what_one_reaches(folders, told, name):
    one, two = (folder / name for folder in folders)
    assert_near(weights(one), weights(two), PARAMETERS)
    (numbers, texts), (others, other_texts) = numbers_of(one), numbers_of(two)
    assert texts == other_texts
    assert others == pytest.approx(numbers, rel=NUMBERS, abs=NUMBERS)
    assert not (two.parent / f"{name}-unfinished").exists()


@pytest.mark.parametrize("objective", launched.TOYS)
def test_on_an_exact_toy_they_are_the_same(folders, told, objective):
    one, two = (load_file(folder / f"toy-{objective}.safetensors") for folder in folders)
    assert_near(one, two, EXACT)


def test_what_one_process_meets_ends_all(folders, told):
    _, two = folders
    first, second = (json.loads((two / f"said-{number}.json").read_text()) for number in range(2))
    assert first == second
    assert first == {
        "failing": "TrainingError: The scores are gone. Bring them back.",
        "full": f"TrainingError: The disk of {two} is full. "
        "Free some room; the same command with --resume goes on from the last checkpoint.",
        "diverging": "The loss of update 7 is nan.",
        "command": "exit code 2",
        "stopped": "Stopped: Stopped after step 2 of 4. The same command with --resume goes on.",
    }
    assert sorted(each.name for each in two.glob("*-unfinished")) == ["stopped-unfinished"]


def test_one_process_goes_on_with_what_two_began(folders, told):
    one, two = folders
    runs.train(launched.settings(one, "stopped"))
    watched = runs.Watched()
    runs.train(launched.settings(two, "stopped"), resume=True, watched=watched)
    assert watched.steps == [3, 4]
    assert_near(weights(one / "stopped"), weights(two / "stopped"), PARAMETERS)


def test_the_first_process_alone_tells_what_ends_all(folders, told):
    sentence = (
        f"error: The output '{folders[1] / 'quark'}' is already there, and is left as it is. Name another folder."
    )
    assert told.count(sentence) == 1


def settings_file(folder: Path, **changes) -> Path:
    """Settings in a file, as a user writes them."""
    chosen = launched.settings(folder, "out", **changes)
    known = vars(AdapterSettings(model="m", prompts="p", reward="r", output="o"))
    given = {name: value for name, value in vars(chosen).items() if value != known[name]}
    file = folder / "settings.toml"
    file.write_text(
        tomli_w.dumps({name: list(each) if isinstance(each, tuple) else each for name, each in given.items()})
    )
    return file


@pytest.mark.slow
def test_control_c_stops_all_after_the_same_step(tmp_path):
    changes = {"objective": "rloo", "steps": 60, "learning_rate": 0.002}
    file, log = settings_file(tmp_path, **changes), tmp_path / "log"
    command = ("lmalgebra", "train", "adapter", str(file))
    with log.open("w") as written:
        process = subprocess.Popen(launcher(*command), env=environment(), stderr=written)
        while "step 1 of 60" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
    told = log.read_text()
    assert told.count("Stopping after this step, with a checkpoint ...") == 1
    assert told.count("The same command with --resume goes on.") == 1
    ended = launch(*command, "--resume", processes=3)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("on held-out prompts") == 1
    lines = (tmp_path / "out" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 61))
    runs.train(launched.settings(tmp_path, "whole", **changes))
    assert_near(weights(tmp_path / "whole"), weights(tmp_path / "out"), 10 * PARAMETERS)


@pytest.mark.parametrize(
    ("variables", "device", "sentence"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "cpu", "FSDP was asked for, but parameters are not divided here: each"),
        ({}, "cpu:0", "2 processes were launched, and device = 'cpu:0' is one place. Say 'cpu', so that each process"),
    ],
)
def test_a_launch_that_cannot_be_is_one_sentence(monkeypatch, variables, device, sentence):
    for name, value in ({"WORLD_SIZE": "2", "RANK": "0"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError) as refusal:
        Processes.launched(device)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("count", [0, 1, 5, 12])
def test_shares_cover_everything_once(count):
    things = list(range(count))
    for processes in (1, 2, 3, 7):
        shares = [Processes(processes, index).mine(things) for index in range(processes)]
        assert [each for share in shares for each in share] == things
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
