"""`lmalgebra run --output FILE`, and going on with FILE after a stop."""

import os

import pytest

from cli.conftest import samples
from lmalgebra.decoding.samples_file import _runs

PROMPTS = '"a"\n"b"\n"a"\n{"messages": [{"role": "user", "content": "c"}]}\n'
JOB = ("--prompts", "-", "--samples", "5", "--max-new-tokens", "6", "--output", "out.jsonl")


@pytest.fixture
def job(lm, letters):
    """Runs the job, with more options."""
    return lambda *more, code=0: lm("run", letters, *JOB, *more, input=PROMPTS, code=code)


@pytest.fixture
def whole(job, tmp_path):
    """The lines of an uninterrupted job, whose file is gone again."""
    job()
    lines = (tmp_path / "out.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out.jsonl").unlink()
    return lines


def test_the_file_holds_what_json_prints(lm, letters, whole):
    assert lm("run", letters, *JOB[:-2], "--json", input=PROMPTS).stdout == "".join(whole)
    assert len(whole) == 20
    assert len(set(whole)) == 15  # a prompt that is asked twice gets the same texts


def test_nothing_goes_to_standard_output(job):
    result = job()
    assert result.stdout == ""
    assert result.stderr == "Wrote 20 samples to out.jsonl.\n"


def test_a_file_that_holds_something_is_refused(job, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine\n")
    assert job(code=2).stderr == (
        "error: The output 'out.jsonl' already holds something. Add --resume to go on with it, or name another file.\n"
    )
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


def test_an_empty_file_is_no_obstacle(job, whole, tmp_path):
    (tmp_path / "out.jsonl").touch()
    job()
    assert (tmp_path / "out.jsonl").read_text() == "".join(whole)


@pytest.mark.parametrize("kept", [[], [0], [19], [3, 4, 11], range(0, 20, 2), range(19), range(20)], ids=str)
def test_resume_generates_exactly_what_is_missing(job, whole, tmp_path, kept):
    file = tmp_path / "out.jsonl"
    held = "".join(whole[number] for number in kept)
    file.write_text(held)
    result = job("--resume")
    assert file.read_text().startswith(held)
    assert sorted(file.read_text().splitlines(keepends=True)) == sorted(whole)
    assert f"Wrote {20 - len(kept)} sample" in result.stderr


@pytest.mark.parametrize("torn", ["{", '{"prompt": "a", "te', "whole"])
def test_resume_drops_a_torn_last_line(job, whole, tmp_path, torn):
    (tmp_path / "out.jsonl").write_text(whole[0] + (whole[1].rstrip("\n") if torn == "whole" else torn))
    assert job("--resume").stderr.startswith("out.jsonl holds 1 sample")
    assert sorted((tmp_path / "out.jsonl").read_text().splitlines(keepends=True)) == sorted(whole)


def test_resume_says_what_is_left(lm, letters, whole, tmp_path):
    (tmp_path / "out.jsonl").write_text("".join(whole[:2]))
    (tmp_path / "prompts.jsonl").write_text(PROMPTS)
    options = ("--prompts", "prompts.jsonl", *JOB[2:], "--resume")
    assert (
        lm("run", letters, *options).stderr == "out.jsonl holds 2 samples; 18 to go.\nWrote 18 samples to out.jsonl.\n"
    )


def test_more_samples_can_be_added_later(job, whole, tmp_path):
    job()
    job("--samples", "6", "--resume")
    seeds = [sample["seed"] for sample in samples((tmp_path / "out.jsonl").read_text())]
    assert seeds[20:] == [5, 5, 5, 5]


@pytest.mark.parametrize(
    "content", ["mine\n", '{"prompt": "a"}\n', "[]\n", "precious", '{"prompt": "a", "seed": 0}\nx']
)
def test_resume_leaves_another_file_as_it_is(job, tmp_path, content):
    (tmp_path / "out.jsonl").write_text(content)
    number = 1 + content[:-1].count("\n")
    assert job("--resume", code=2).stderr == (
        f"error: out.jsonl, line {number}: this is not a sample, so --resume cannot go on with the file. "
        "Remove the line, or name another file.\n"
    )
    assert (tmp_path / "out.jsonl").read_text() == content


@pytest.mark.parametrize(
    ("place", "reason"), [("none/out.jsonl", "No such file or directory"), (".", "Is a directory")]
)
def test_a_place_that_cannot_be_written_is_told(lm, letters, place, reason):
    options = ("--resume",) if place == "." else ()
    told = lm("run", letters, "--prompt", "a", "--output", place, *options, code=2).stderr
    assert told.startswith(f"error: The output '{place}' cannot be written: {reason}.")


def test_an_error_on_the_way_says_what_is_kept(lm, letters):
    result = lm("run", letters, *JOB, "--batch", "1", input='"a"\n{\n', code=2)
    first, second, *_ = result.stderr.splitlines()
    assert first == "Stopped; out.jsonl keeps 5 samples. The same command with --resume goes on."
    assert second.startswith("error: standard input, line 2: this is not JSON")
    assert os.path.getsize("out.jsonl") > 0


def test_neighbouring_seeds_are_one_request():
    assert _runs([0, 1, 2, 5, 7, 8]) == [(0, 3), (5, 1), (7, 2)]
