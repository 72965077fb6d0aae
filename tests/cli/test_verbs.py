"""`new`, `check`, `models`, help and the showcase."""

import os
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from lmalgebra import __version__, cli
from lmalgebra.algebra import load_voice
from lmalgebra.cli import showcase
from lmalgebra.cli.voices import DEFAULT_MODEL, SYSTEM_PROMPTS, default_voice
from lmalgebra.decoding import Piece
from lmalgebra.models import catalog


def test_version(lm):
    assert lm("--version").stdout == f"lmalgebra {__version__}\n"


@pytest.mark.parametrize("verb", ["run", "chat", "explain"])
def test_help_lists_every_setting_in_groups(lm, verb):
    shown = lm(verb, "--help").stdout
    settings = ["max-new-tokens", "min-new-tokens", "temperature", "top-p", "top-k", "min-p", "repetition-penalty"]
    for option in [*settings, "stop", "seed", "formula", "model", "dtype", "device", "engine", "quantization"]:
        assert f"--{option} " in shown
    for group in ("The voice", "Sampling", "Running"):
        assert f"─ {group} ─" in shown


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["recipes"], ["new", "my.toml"], ["check"]])
def test_small_verbs_need_no_torch(arguments, tmp_path):
    code = "import sys; from lmalgebra.cli import app; app(standalone_mode=False); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout.endswith("False\n") or "--help" in arguments, done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("chosen", "used"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
)
def test_waiting_threads_spin_shortly_unless_the_user_wants_otherwise(monkeypatch, chosen, used):
    monkeypatch.setattr(cli, "app", lambda: None)
    monkeypatch.setattr(cli, "use_utf8", lambda: None)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what main() sets is undone
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    cli.main()
    assert os.environ.get("GOMP_SPINCOUNT") == used


# new


def test_new_writes_a_voice_that_runs(lm, tmp_path):
    told = lm("new", "my.toml", "--model", "toy").stdout
    assert told.splitlines()[1] == "  lmalgebra check my.toml"
    assert load_voice(tmp_path / "my.toml").models[0].source == "toy"
    assert lm("run", "my.toml", "--prompt", "hi.", "--max-new-tokens", "3").stdout.strip()


def test_new_uses_the_default_model(lm, tmp_path):
    lm("new", "my.toml")
    assert load_voice(tmp_path / "my.toml").models[0].source == DEFAULT_MODEL


def test_new_leaves_what_is_there(lm, tmp_path):
    (tmp_path / "my.toml").write_text("mine")
    told = lm("new", "my.toml", code=2).stderr
    assert told == "error: 'my.toml' is already there, and is left as it is. Choose another name.\n"
    assert (tmp_path / "my.toml").read_text() == "mine"


def test_new_keeps_a_path_that_holds_from_another_folder(lm, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "voices").mkdir()
    lm("new", "voices/my.toml", "--model", "./weights")
    assert load_voice(tmp_path / "voices" / "my.toml").models[0].source == str(tmp_path / "weights")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none/my.toml"], "'none/my.toml' cannot be written: no such file or directory."),
        (["my.toml", "--model", ""], "the voice: [models.small]: The source of a model is empty."),
    ],
)
def test_new_tells_mistakes(lm, arguments, told):
    assert lm("new", *arguments, code=2).stderr.startswith(f"error: {told}")


# check


def test_check_describes_a_voice(lm, letters):
    assert lm("check", letters, "--formula", "letters + 0 * reverse").stdout == (
        "formula: letters + 0 * reverse\n"
        "  sum\n    letters\n    scale 0\n      reverse\n"
        "simplified: letters\n"
        "mass: 1.0\n"
        "\nterms\n"
        "  letters: prefix '', on table\n"
        "  reverse: prefix '', on other\n"
        "\nmodels\n"
        f"  table: {letters.parent}/table.json; engine auto, dtype auto, device auto; a file that is there\n"
        f"  other: {letters.parent}/reverse.json; engine auto, dtype auto, device auto; a file that is there\n"
    )


def test_check_describes_a_classifier(lm, letters):
    letters.write_text(
        letters.read_text() + '[terms.kind]\nclassifier = "./kind"\nlabel = "yes"\ntop_k = 20\nsign = -1\n'
    )
    shown = lm("check", letters, "--formula", "letters + 2 * kind").stdout
    assert f"  kind: classifier '{letters.parent}/kind', label 'yes', sign -1, top_k 20\n" in shown


def test_check_shows_adapters_and_loads_them(lm, tmp_path):
    (tmp_path / "my.toml").write_text(
        'formula = "base + formal"\n[models.small]\nsource = "toy"\n'
        '[terms.base]\nprefix = ""\nadapter = "toy:7"\n'
        '[terms.formal]\nsystem = "Hi."\nadapter = { "toy:8" = 0.7, "./short" = 0.3 }\n'
    )
    shown = lm("check", "my.toml").stdout
    assert "  base: prefix '', adapter 'toy:7', on small\n" in shown
    assert f"  formal: system 'Hi.', adapter 0.3 * '{tmp_path}/short' + 0.7 * 'toy:8', on small\n" in shown
    assert f"error: The adapter '{tmp_path}/short' cannot be used: " in lm("check", "my.toml", "--load", code=2).stderr
    assert lm("run", "my.toml", "--formula", "base", "--prompt", "hi.", "--max-new-tokens", "3").stdout.strip()


def test_check_shows_what_options_change(lm):
    options = (
        "--dtype",
        "float64",
        "--device",
        "cuda",
        "--engine",
        "torch",
        "--quantization",
        "int4",
        "--model",
        "toy:3",
    )
    shown = lm("check", *options).stdout
    assert (
        "small: toy:3; engine torch, dtype float64, device cuda, quantization int4; an exact toy, no weights" in shown
    )
    assert "poet: system 'You are a poet. You answer in rhyming verse full of images.', on small (not used)" in shown


def test_check_says_what_judges(lm, tmp_path):
    file = tmp_path / "judged.toml"
    file.write_text(
        'formula = "base + 2 * kind + hold(formal - base, calm, target=0.8)"\n[models.small]\nsource = "toy"\n'
        '[terms.base]\n[terms.formal]\nprefix = "dear sir"\n'
        '[terms.kind]\nclassifier = "my/judge"\nlabel = "rude"\nsign = -1\n'
        '[terms.calm]\nclassifier = "my/other"\n'
    )
    shown = lm("check", str(file)).stdout
    assert "kind: classifier 'my/judge', label 'rude', sign -1" in shown
    assert "calm: classifier 'my/other'\n" in shown


def test_check_says_what_would_be_fetched(lm, monkeypatch, tmp_path):
    monkeypatch.setenv("LMALGEBRA_CACHE", str(tmp_path / "cache"))
    assert "device auto; fetched when first used (93 MB)" in lm("check").stdout
    assert "device auto; from the hub, when first used" in lm("check", "--model", "someone/something").stdout


def test_check_load_compares_vocabularies(lm, letters, tmp_path):
    shown = lm("check", letters, "--formula", "letters + reverse", "--load").stdout
    assert shown.endswith(
        "\nloaded\n  table: exact toy model, 4 tokens, float64\n  other: exact toy model, 4 tokens, float64\n"
        "vocabulary: 4 tokens, the same for every term\n"
    )
    (tmp_path / "reverse.json").write_text('{"pieces": ["a", "<end>"]}')
    told = lm("check", letters, "--formula", "letters + reverse", "--load", code=2).stderr
    assert "have different vocabularies: 4 tokens against 2." in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.toml"], "There is no voice file 'none.toml'."),
        (["--formula", "base +"], "The formula cannot be read here.\n  base +\n"),
        (["--model", "./none"], "There is no model at './none'."),
        (["--model", "smolm2-135m"], "The catalogue has no model 'smolm2-135m'. Did you mean 'smollm2-135m'?"),
    ],
)
def test_check_tells_mistakes(lm, arguments, told):
    assert lm("check", *arguments, code=2).stderr.startswith(f"error: {told}")


# models


@pytest.fixture
def fetching(monkeypatch, tmp_path):
    """A catalogue that brings an empty folder; returns the calls of `fetch`."""
    calls = []

    def fetch(name, *, force=False, report=catalog.silent):
        catalog.entry(name)
        calls.append((name, force))
        report("Downloading ...")
        return tmp_path / name

    monkeypatch.setattr(catalog, "fetch", fetch)
    monkeypatch.setattr(catalog, "is_fetched", lambda name: bool(catalog.entry(name) and calls))
    return calls


def test_models_list(lm, fetching):
    assert lm("models", "list").stdout.count(" no ") >= 2
    lm("models", "fetch", "smollm2-135m")
    shown = lm("models", "list").stdout
    assert "smollm2-135m: small English chat model" in shown
    assert "93 MB" in shown
    assert " yes " in shown


def test_models_fetch_reports_steps_once(lm, fetching):
    assert lm("models", "fetch", "smollm2-135m").stderr == "Downloading ...\n"
    assert "smollm2-135m is already in" in lm("models", "fetch", "smollm2-135m").stderr
    assert lm("models", "fetch", "smollm2-135m", "--force").stderr == "Downloading ...\n"
    assert fetching == [("smollm2-135m", False), ("smollm2-135m", False), ("smollm2-135m", True)]


def test_models_path_prints_only_the_folder(lm, fetching, tmp_path):
    result = lm("models", "path", "smollm2-135m")
    assert result.stdout == f"{tmp_path}/smollm2-135m\n"
    assert result.stderr == "Downloading ...\n"


@pytest.mark.parametrize("verb", ["fetch", "path"])
def test_an_unknown_model_is_told(lm, verb):
    assert lm("models", verb, "nope", code=2).stderr.startswith("error: The catalogue has no model 'nope'. It has: ")


# run without arguments


def test_the_showcase_speaks_under_each_formula(lm):
    shown = lm("run", "--model", "toy", "--max-new-tokens", "5").stdout
    assert shown.startswith("What is the moon?\n\n── base ──\n")
    for formula in showcase.FORMULAS:
        assert f"\n── {formula} ──\n" in shown
    assert shown.endswith('--prompt "Why is the sea salty?"\n')


def test_the_showcase_takes_settings(lm):
    first, second = (lm("run", "--model", "toy", "--temperature", "1", "--seed", seed).stdout for seed in (1, 2))
    assert first != second


def test_the_showcase_needs_no_options():
    voice = default_voice()
    assert voice.models[0].source == DEFAULT_MODEL
    assert [term.name for term in voice.terms] == list(SYSTEM_PROMPTS)


@pytest.mark.parametrize(("width", "beside"), [(120, True), (80, False)])
def test_the_showcase_stands_side_by_side_where_there_is_room(width, beside):
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system=None)
    console.print(showcase._layout(["one [b]", "two", "three"], width))
    lines = console.file.getvalue().splitlines()
    assert any("one [b]" in line and "three" in line for line in lines) is beside
    assert max(map(len, lines)) <= width


def test_the_showcase_grows_live_on_a_terminal():
    console = Console(width=120, file=StringIO(), force_terminal=True, color_system=None)
    said = [(0, "a"), (1, "c"), (0, "b")]
    showcase._show_live(console, [Piece(index, 0, text) for index, text in said])
    assert "│ ab " in console.file.getvalue()
