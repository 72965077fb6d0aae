"""What voices say: kept, gone on with after a stop, and the same whatever else is asked."""

import json
from dataclasses import replace

import pytest

import lmalgebra as la
from lmalgebra.decoding import composed
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.continuations import continuations, read_samples
from lmalgebra.models.identity import identity_of

PROMPTS = ("one", "two", "three")


def say(voice, folder, prompts=PROMPTS, **settings):
    return continuations(voice, identity_of(voice.voice, voice.settings.replace(**settings)), prompts, folder)


def texts(found):
    return [[each.text for each in said] for said in found.said]


def test_each_prompt_has_its_samples(toy, cache):
    found = say(toy, cache)
    assert [len(said) for said in found.said] == [3, 3, 3]
    assert not found.left_out
    first = found.said[0][0]
    assert first.tokens <= 6
    assert first.finish_reason in ("length", "end")


def test_what_is_kept_is_not_said_again(toy, cache, monkeypatch):
    found = say(toy, cache)
    monkeypatch.setattr(composed.ComposedVoice, "run", lambda *_: pytest.fail("said again"))
    assert say(toy, cache) == found
    assert texts(say(toy, cache, prompts=PROMPTS[1:], samples=2)) == [each[:2] for each in texts(found)[1:]]


def test_a_text_does_not_depend_on_other_prompts_or_on_how_many_are_wanted(toy, cache):
    assert texts(say(toy, cache / "alone", prompts=["two"])) == [texts(say(toy, cache))[1]]
    grown = texts(say(toy, cache, samples=5))
    assert [each[:3] for each in grown] == texts(say(toy, cache / "anew"))


def test_prompts_have_luck_of_their_own_that_voices_share(toy, cache):
    flat = la.voice(la.model("toy:3").term(name="base", prefix=""), max_new_tokens=6, samples=3)
    say(toy, cache)
    say(flat, cache)
    ours, theirs = (
        {(line["prompt"], line["seed"]) for line in map(json.loads, file.read_text().splitlines())}
        for file in cache.glob("*.jsonl")
    )
    assert ours == theirs
    assert len({seed for _, seed in ours}) == 9
    assert texts(say(toy, cache / "other", seed=1)) != texts(say(toy, cache))


@pytest.mark.parametrize("samples", range(9))
def test_killed_and_gone_on_with_is_the_same(toy, cache, samples):
    whole = say(toy, cache)
    (file,) = cache.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:samples]) + lines[samples][:20])
    assert say(toy, cache) == whole
    assert sorted(file.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_an_error_in_between_loses_nothing(toy, cache):
    heard = []

    def stop_after_four(samples):
        heard.append(samples)
        if len(heard) == 5:  # the first call tells what is there already
            raise KeyboardInterrupt

    identity = identity_of(toy.voice, toy.settings)
    with pytest.raises(KeyboardInterrupt):
        continuations(toy, identity, PROMPTS, cache, stop_after_four)
    heard.clear()
    continuations(toy, identity, PROMPTS, cache, heard.append)
    assert heard == [4, 1, 1, 1, 1, 1]


def test_a_prompt_that_cannot_be_read_is_left_out_with_its_reason(toy, cache):
    found = say(toy, cache, prompts=["fine", "x" * 5000, "Ω", "also fine"])
    assert [len(said) for said in found.said] == [3, 0, 0, 3]
    assert "has 5,000 tokens, which leaves no room in the 4,096" in found.left_out[1]
    assert "cannot spell 'ω'" in found.left_out[2]
    assert texts(found)[3] == texts(say(toy, cache / "alone", prompts=["also fine"]))[0]


def test_conversations_are_prompts(cache):
    voice = la.voice(la.model("toy").term(name="base"), max_new_tokens=4, samples=2)
    chat = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "?"},
    ]
    whole = say(voice, cache, prompts=[chat, "hi"])
    assert [len(said) for said in whole.said] == [2, 2]
    assert say(voice, cache, prompts=[chat, "hi"]) == whole


def test_a_damaged_file_and_a_disk_that_refuses_are_told(toy, cache, tmp_path):
    say(toy, cache)
    (file,) = cache.glob("*.jsonl")
    file.write_text("nonsense\n")
    with pytest.raises(EvaluationError, match=r"line 1: this is not a sample.*Remove that file"):
        say(toy, cache)
    with pytest.raises(EvaluationError, match=r"cannot be written: Not a directory.*--cache"):
        say(toy, file / "sub")
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(EvaluationError, match="cannot be written: No space left on device"):
        say(toy, cache)


def test_samples_from_elsewhere(tmp_path):
    file = tmp_path / "said.jsonl"
    lines = [{"prompt": "one", "text": "a"}, {"prompt": "other", "text": "x"}, {"prompt": "one", "text": "b"}]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = read_samples(file, ("one", "two"))
    assert texts(found) == [["a", "b"], []]
    assert found.left_out == {1: f"{file} holds no sample of it."}


def test_samples_of_this_library_are_read_back(toy, cache):
    whole = say(toy, cache)
    (file,) = cache.glob("*.jsonl")
    assert sorted(map(sorted, texts(read_samples(file, PROMPTS)))) == sorted(map(sorted, texts(whole)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: this is not JSON"),
        ('{"text": "a"}', "line 1: this is no sample. Each line is an object"),
        ('{"prompt": "one", "text": "a"}\n7', "line 2: this is no sample"),
        ('{"prompt": "one", "text": "a", "tokens": 3}', "line 1: this is no sample"),
        ('{"prompt": "other", "text": "a"}', "holds no sample of any of the 3 prompts"),
    ],
)
def test_a_file_that_holds_no_samples_is_refused(tmp_path, content, message):
    file = tmp_path / "said.jsonl"
    file.write_text(content)
    with pytest.raises(EvaluationError, match=message):
        read_samples(file, PROMPTS)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="There is no file of samples"):
        read_samples(tmp_path / "none.jsonl", PROMPTS)


def test_unused_terms_are_no_part_of_what_is_kept(toy, cache):
    spare = replace(toy.voice, terms=(*toy.voice.terms, la.model("toy:9").term(name="spare", prefix="")))
    assert identity_of(spare, toy.settings).name == identity_of(toy.voice, toy.settings).name
