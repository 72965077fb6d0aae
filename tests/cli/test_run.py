"""`lmalgebra run` to standard output: what each option changes, and what each mistake is told."""

import json
import logging

import pytest

from cli.conftest import samples
from lmalgebra import api
from lmalgebra.cli.voices import default_voice

TOY = ("--model", "toy", "--max-new-tokens", "12")


def one(lm, *arguments) -> dict:
    (sample,) = samples(lm("run", *arguments, "--json").stdout)
    return sample


def test_text_is_what_the_library_says(lm):
    said = api.voice(default_voice("toy"), max_new_tokens=12).generate("hi.").text
    assert lm("run", *TOY, "--prompt", "hi.").stdout == f"{said}\n"


def test_json_has_exactly_the_keys_of_the_contract(lm):
    (sample,) = api.voice(default_voice("toy"), max_new_tokens=12).generate("hi.").samples
    assert one(lm, *TOY, "--prompt", "hi.") == {
        "prompt": "hi.",
        "text": sample.text,
        "tokens": list(sample.tokens),
        "logprobs": list(sample.logprobs),
        "finish_reason": sample.finish_reason,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        (["--temperature", "0"], "a" * 30, "length"),
        (["--top-k", "1"], "a" * 30, "length"),
        (["--top-p", "0.4"], "a" * 30, "length"),
        (["--min-p", "0.9"], "a" * 30, "length"),
        (["--temperature", "0", "--max-new-tokens", "3"], "aaa", "length"),
        (["--temperature", "0", "--repetition-penalty", "1000"], "abc", "end"),
        (["--temperature", "0", "--repetition-penalty", "1000", "--stop", "bc"], "a", "stop"),
        (["--temperature", "0", "--repetition-penalty", "1000", "--stop", "x", "--stop", "c"], "ab", "stop"),
        (["--temperature", "0", "--formula", "reverse"], "c" * 30, "length"),
        (["--temperature", "0", "--formula", "letters + 2 * (letters - reverse)"], "a" * 30, "length"),
    ],
    ids=" ".join,
)
def test_an_option_decides_the_text(lm, letters, options, text, reason):
    sample = one(lm, letters, "--prompt", "a", *options)
    assert (sample["text"], sample["finish_reason"]) == (text, reason)


def test_min_new_tokens_puts_the_end_off(lm, letters):
    options = (letters, "--prompt", "a", "--samples", "8", "--json")
    early = samples(lm("run", *options).stdout)
    late = samples(lm("run", *options, "--min-new-tokens", "30").stdout)
    assert min(len(sample["tokens"]) for sample in early) < 30
    assert {len(sample["tokens"]) for sample in late} == {30}


def test_samples_count_up_from_the_seed(lm, letters):
    found = samples(lm("run", letters, "--prompt", "a", "--samples", "3", "--seed", "5", "--json").stdout)
    assert sorted(sample["seed"] for sample in found) == [5, 6, 7]
    assert one(lm, letters, "--prompt", "a", "--seed", "6") in found


def test_batch_limits_the_samples_in_progress(lm, letters):
    options = ("run", letters, "--prompt", "a", "--samples", "12", "--json")
    together = [sample["seed"] for sample in samples(lm(*options).stdout)]
    in_turn = [sample["seed"] for sample in samples(lm(*options, "--batch", "1").stdout)]
    assert in_turn == list(range(12))
    assert together != in_turn
    assert sorted(together) == in_turn


def test_model_replaces_the_default_one(lm):
    first, second = (one(lm, "--model", source, "--prompt", "hi.") for source in ("toy", "toy:7"))
    assert first["text"] != second["text"]


def test_model_replaces_the_only_one_of_a_voice_file(lm):
    lm("new", "my.toml")
    assert one(lm, "my.toml", "--model", "toy", "--prompt", "hi.")["prompt"] == "hi."


def test_how_to_run_reaches_the_model(lm, smollm2):
    options = ("run", "--model", smollm2, "--prompt", "Hi", "--max-new-tokens", "2", "--temperature", "0", "--json")
    result = lm(*options, "--dtype", "float32", "--device", "cpu", "--engine", "torch", "--quantization", "int4")
    assert "(float32, int4 on cpu)" in result.stderr
    assert len(samples(result.stdout)[0]["tokens"]) == 2
    for option, value in (("--device", "nowhere"), ("--engine", "steam")):
        assert f"'{value}'" in lm(*options, option, value, code=2).stderr


def test_dtype_and_quantization_are_checked(lm):
    assert lm("run", *TOY, "--quantization", "int5", "--prompt", "a", code=2).stderr == (
        "error: quantization='int5' is not known. Known: none, int4.\n"
    )
    assert lm("run", *TOY, "--dtype", "float3", "--prompt", "a", code=2).stderr == (
        "error: dtype='float3' is not known. Known: auto, float32, bfloat16, float16, float64.\n"
    )


LINES = '"a"\n\n{"prompt": "b", "label": 1}\n{"messages": [{"role": "user", "content": "c"}]}\n'
PROMPTS = ["a", "b", [{"role": "user", "content": "c"}]]


def test_prompts_come_from_a_file_or_from_standard_input(lm, letters, tmp_path):
    (tmp_path / "some.jsonl").write_text(LINES)
    results = lm("run", letters, "--prompts", "some.jsonl", "--json", "--batch", "1").stdout
    assert [sample["prompt"] for sample in samples(results)] == PROMPTS
    assert lm("run", letters, "--prompts", "-", "--json", "--batch", "1", input=LINES).stdout == results


def test_results_can_be_prompts_again(lm, letters, tmp_path):
    lm("run", letters, "--prompts", "-", "--batch", "1", "--output", "first.jsonl", input=LINES)
    results = lm("run", letters, "--prompts", "first.jsonl", "--json", "--batch", "1").stdout
    assert [sample["prompt"] for sample in samples(results)] == PROMPTS


def test_a_whole_standard_input_can_be_the_prompt(lm, letters):
    assert one(lm, letters, "--prompt", "abc")["text"] == one_from_input(lm, letters, "abc\n")["text"]


def one_from_input(lm, letters, text) -> dict:
    (sample,) = samples(lm("run", letters, "--prompt", "-", "--json", input=text).stdout)
    assert sample["prompt"] == text.rstrip("\n")
    return sample


def test_several_texts_get_headings(lm, letters):
    options = ("--temperature", "0", "--max-new-tokens", "2", "--batch", "1")
    two = lm("run", letters, "--prompts", "-", *options, input='"a"\n"b"\n').stdout
    assert two == "── a ──\naa\n\n── b ──\naa\n"
    assert lm("run", letters, "--prompt", "c" * 99, "--samples", "2", *options).stdout == (
        f"── {'c' * 60}… · sample 1 ──\naa\n\n── {'c' * 60}… · sample 2 ──\naa\n"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: this is not JSON"),
        ("7", "line 2: The line has no prompt."),
        ('{"text": "a"}', "line 2: The line has no prompt."),
        ('{"prompt": "a", "messages": []}', "line 2: The line has both prompt and messages."),
        ('{"prompt": 7}', "line 2: The line's prompt is neither text nor messages."),
        ('{"messages": "a"}', "line 2: The line's messages is neither text nor messages."),
        ('{"messages": ["a"]}', "line 2: The messages are not all objects."),
        ('{"messages": [{"role": "user"}]}', "line 2: {'role': 'user'} is not a message."),
        ('""', "line 2: The prompt is empty."),
        (r'"\ud800"', "line 2: The prompt holds half a character (a lone surrogate)."),
        (b"\xff", "line 2: this is not UTF-8 text."),
        (b"[" * 100_000, "line 2: this is not JSON"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_said(lm, letters, tmp_path, line, told):
    line = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "bad.jsonl").write_bytes(b'"a"\n' + line + b'\n"c"\n')
    result = lm("run", letters, "--prompts", "bad.jsonl", code=2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: bad.jsonl, {told}")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.toml", "--prompt", "a"], "There is no voice file 'none.toml'. Check the path, or make one first."),
        (["--formula", "base"], "There is no prompt. Add --prompt TEXT, or --prompts FILE.jsonl."),
        (["--json"], "There is no prompt. Add --prompt TEXT, or --prompts FILE.jsonl."),
        (["--prompt", "a", "--prompts", "b"], "Both --prompt and --prompts were given. Keep one of them."),
        (["--prompt", ""], "The prompt is empty. Give at least one character."),
        (["--prompts", "none.jsonl"], "There is no file of prompts 'none.jsonl'. Check the path."),
        (["--prompts", "."], "The file of prompts '.' cannot be read: Is a directory. Check the path."),
        (["--prompts", "-"], 'standard input holds no prompt. A line is a JSON text, {"prompt": "..."} or '),
        (["--prompt", "a", "--temperature", "-1"], "temperature=-1.0 is out of range. Give a number of at least 0."),
        (["--prompt", "a", "--samples", "0"], "samples=0 is out of range. Give a whole number of at least 1."),
        (["--prompt", "a", "--batch", "0"], "--batch 0 leaves no sample in progress. Give a whole number of at "),
        (["--prompt", "a", "--formula", "bas"], "`bas` is not a term.\n  bas\n  ^^^\nDid you mean `base`?"),
        (["--prompt", "a", "--formula", "base - formal"], "`base - formal` has mass 0 and so no distribution. "),
        (["--prompt", "[/bold]"], "The toy model cannot spell '['. "),
        (["--resume", "--prompt", "a"], "--resume needs a file to go on with. Add --output FILE."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(lm, arguments, told):
    result = lm("run", "--model", "toy", *arguments, code=2, input="")
    if arguments[0] == "none.toml":
        assert result.stdout == ""
    assert result.stderr.startswith(f"error: {told}")


def test_model_cannot_replace_one_of_several(lm, letters):
    told = lm("run", letters, "--model", "toy", "--prompt", "a", code=2).stderr
    assert told.startswith("error: --model toy cannot say which of the voice's models it replaces: table, other.")


def test_warnings_of_the_library_are_notes(lm, monkeypatch):
    from lmalgebra.models import loading

    load = loading.load

    def noting(*arguments, **options):
        logging.getLogger("lmalgebra").warning("it is [slow]")
        return load(*arguments, **options)

    monkeypatch.setattr(loading, "load", noting)
    assert lm("run", *TOY, "--prompt", "hi.").stderr == "note: it is [slow]\n"


def test_text_beyond_ascii_stays_readable(lm, tmp_path):
    table = {"pieces": ["é", "<end>"], "end": "<end>", "order": 0, "rows": {"": [1, 0]}}
    (tmp_path / "e.json").write_text(json.dumps(table))
    (tmp_path / "e.toml").write_text('formula = "e"\n[models.e]\nsource = "./e.json"\n[terms.e]\nprefix = ""\n')
    assert '"text": "éé"' in lm("run", "e.toml", "--prompt", "é", "--max-new-tokens", "2", "--json").stdout


def test_a_prompt_that_is_too_long_is_left_out_and_the_others_are_kept(lm, tmp_path):
    (tmp_path / "p.jsonl").write_text('"hi."\n"' + "a" * 5000 + '"\n"yo."\n')
    options = ("run", "--model", "toy", "--prompts", "p.jsonl", "--output", "o.jsonl", "--max-new-tokens", 3)
    assert "Prompt 2 was left out" in lm(*options, code=2).stderr
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 2
