"""`lmalgebra train distill`: from settings to a model that speaks, and what is said on the way."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

from lmalgebra.cli.train_distill import SETTINGS
from lmalgebra.training.policies.distillation.settings import DistillSettings
from tiny_classifiers import llama, save_language_model
from training.policies.runs import PROMPTS

DOC = Path(__file__).parents[2] / "docs" / "policy-adapters.md"


def test_every_setting_is_an_option_with_its_default():
    known = {each.name: each for each in fields(DistillSettings)}
    assert sorted(each.name for each in SETTINGS) == sorted(known)
    for each in SETTINGS:
        default = known[each.name].default
        if default is MISSING or default is False:
            assert each.default == ""
        elif isinstance(default, int | float):
            assert float(each.default) == default, each.name
        elif isinstance(default, str) and default:
            assert each.default == default


def test_a_distillation_ends_with_a_table_and_a_voice(lm, tmp_path):
    save_language_model(tmp_path / "letters", llama())
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": each}) + "\n" for each in PROMPTS))
    (tmp_path / "d.toml").write_text(
        'prompts = "prompts.jsonl"\nmodel = "./letters"\nlayers = 1\noutput = "out"\nheld_out = 0.25\nsteps = 2\n'
        'prompts_per_step = 4\nmax_new_tokens = 4\ndevice = "cpu"\nprecision = "float32"\ntrackers = "none"\n'
    )
    done = lm("train", "distill", tmp_path / "d.toml", "--steps", 3)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["on", "held-out", "prompts", "before", "after", "teacher"]
    assert [line.split()[0] for line in lines[1:]] == ["nats", "likeliest", "nats"]
    assert "step 3 of 3, " in done.stderr
    assert f"Wrote {tmp_path / 'out'}. It speaks by: lmalgebra run {tmp_path / 'out' / 'voice.toml'}" in done.stderr
    assert lm("run", tmp_path / "out" / "voice.toml", "--prompt", "abc", "--max-new-tokens", 3).stdout


def test_a_mistake_is_one_sentence(lm):
    done = lm("train", "distill", "--model", "x", "--prompts", "p", "--output", "o", code=2)
    assert done.stderr.startswith("error: The student would be its teacher, 'x'.")


def test_the_page_has_the_settings_of_its_own():
    page = DOC.read_text(encoding="utf-8")
    from lmalgebra.cli.train_distill import OWN

    for each in OWN:
        assert f"| `{each.name}` | {each.default} | {each.text} |" in page
