"""What requests begin alike with is read once; rows are kept for later ones as long as there is room."""

import pytest
from together import Together, alone, network_models, recorded_toys, rows_open, speaker
from voices import STEERED

SHARED = "once upon a time, there was a voice that spoke by a formula. " * 2
SHORT = {"min_new_tokens": 3, "max_new_tokens": 3}


@pytest.fixture(params=["toy", "network"])
def models(request):
    return recorded_toys() if request.param == "toy" else network_models(context_length=512)


def given(models):
    return models["base"].session.given


def told(running):
    return [running.samples[index] for index in running.samples]


def test_two_prompts_that_begin_alike_read_it_once(models):
    base = speaker("base", models)
    running = Together()
    for ending in ("and then", "but"):
        running.add(base, SHARED + ending, **SHORT)
    running.finish()
    assert given(models) == len(SHARED) + len("and then") + len("but") + 2 * 2
    assert told(running) == [alone(base, SHARED + ending, **SHORT) for ending in ("and then", "but")]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_prompt_copies_from_one_that_is_read_or_spoken_after(models, steps):
    base = speaker("base", models)
    running = Together()
    settings = {"min_new_tokens": 6, "max_new_tokens": 6}
    running.add(base, SHARED + "and then", **settings)
    running.steps_of(steps)
    running.add(base, SHARED + "but", **settings)
    running.finish()
    assert given(models) == len(SHARED) + len("and then") + len("but") + 2 * 5
    assert told(running) == [alone(base, SHARED + ending, **settings) for ending in ("and then", "but")]


def test_the_same_prompt_again_reads_its_last_token_only(models):
    base = speaker("base", models)
    running = Together()
    running.add(base, SHARED, **SHORT)
    running.steps_of(2)
    running.add(base, SHARED, **SHORT)
    running.finish()
    assert given(models) == len(SHARED) + 1 + 2 * 2


def test_terms_of_one_session_copy_from_each_others_rows(models):
    """`2 * base` and `base` have the same context, in whichever formula they stand."""
    running = Together()
    running.add(speaker("base", models), SHARED, **SHORT)
    running.steps_of(2)
    steered = speaker(STEERED, models)
    running.add(steered, SHARED, **SHORT)
    running.finish()
    own = len("dear sir, ") + len(SHARED)  # of `formal`, in its own session or in the same
    formal = own if models["formal"].session is models["base"].session else 0
    extra = 2 if formal else 0
    assert given(models) == len(SHARED) + 2 + 1 + 2 + formal + extra
    assert running.samples[1] == alone(steered, SHARED, **SHORT)


def test_a_prompt_does_not_copy_from_another_models_rows():
    models = recorded_toys()
    running = Together(kept_rows=4)
    voices = [speaker(name, models) for name in ("base", "formal")]
    for spoken in voices:
        running.add(spoken, SHARED, **SHORT)
        running.finish()
    assert [model.session.given for model in models.values()] == [len(SHARED) + 2, len("dear sir, " + SHARED) + 2]
    assert told(running) == [alone(spoken, SHARED, **SHORT) for spoken in voices]


def test_a_kept_row_is_used_by_a_later_prompt_that_goes_on_from_its_text(models):
    base = speaker("base", models)
    running = Together(kept_rows=1)
    first = running.add(base, SHARED, **SHORT)
    running.finish()
    text = running.samples[first][0].text
    before = given(models)
    running.add(base, SHARED + text + "and?", **SHORT)
    running.finish()
    assert given(models) - before == 1 + len("and?") + 2  # the last token said was never read
    assert running.samples[1] == alone(base, SHARED + text + "and?", **SHORT)


def test_nothing_is_kept_unless_asked_for(models):
    base = speaker("base", models)
    running = Together()
    for _ in range(2):
        running.add(base, SHARED, **SHORT)
        running.finish()
        assert rows_open(models) == 0
    assert given(models) == 2 * (len(SHARED) + 2)


@pytest.mark.parametrize("kept_rows", [1, 2, 3, 5])
def test_no_more_rows_are_kept_than_allowed(models, kept_rows):
    steered = speaker(STEERED, models)
    running = Together(kept_rows=kept_rows)
    for number in range(6):
        running.add(steered, f"{number} {SHARED}", samples=2, **SHORT)
        running.finish()
        assert rows_open(models) <= kept_rows
    assert rows_open(models) == kept_rows
    running.scheduler.close()
    assert rows_open(models) == 0


def test_the_row_that_was_not_used_for_longest_is_given_up_first():
    models = recorded_toys()
    base = speaker("base", models)
    running = Together(kept_rows=2)
    for beginning in ("a", "b", "a", "c", "a"):
        running.add(base, beginning * 50, max_new_tokens=1)
        running.finish()
    assert given(models) == 50 + 50 + 1 + 50 + 1


def test_kept_rows_give_way_to_prompts_that_need_their_room():
    models = recorded_toys(max_cache_tokens=250)
    base = speaker("base", models)
    running = Together(kept_rows=9)
    for beginning in "abcdef":
        running.add(base, beginning * 100, **SHORT)
        running.finish()
        assert models["base"].session.room_left >= 0
    assert not running.refused
    running.add(base, "g" * 240, **SHORT)
    running.finish()
    assert not running.refused
    assert rows_open(models) == 1


def test_kept_rows_give_way_to_the_samples_of_a_prompt():
    models = recorded_toys(max_cache_tokens=400)
    base = speaker("base", models)
    running = Together(kept_rows=3)
    for beginning in "abc":
        running.add(base, beginning * 95, max_new_tokens=1)
    running.finish()
    running.add(base, "d" * 90, samples=4, min_new_tokens=8, max_new_tokens=8)
    running.steps_of(3)
    assert len(models["base"].session.open_rows) == 4
    assert running.finish().samples[3] == alone(base, "d" * 90, samples=4, min_new_tokens=8, max_new_tokens=8)


def test_a_network_keeps_rows_within_its_cache():
    models = network_models(max_cache_tokens=3 * 128)
    base = speaker("base", models)
    running = Together(kept_rows=8)
    cache = models["base"].session.inner.cache
    for number in range(12):
        running.add(base, f"{number % 5} {SHARED[:70]}", seed=number, **SHORT)
        while running.scheduler.busy:
            running.step()
            assert cache.allocated_tokens <= cache.max_tokens
    ample = speaker("base", network_models())
    expected = [alone(ample, f"{number % 5} {SHARED[:70]}", seed=number, **SHORT) for number in range(12)]
    assert told(running) == expected


def test_a_prompt_whose_source_is_cancelled_reads_for_itself(models):
    base = speaker("base", models)
    running = Together(read_tokens=10)
    running.add(base, "z", min_new_tokens=40, max_new_tokens=40)
    running.steps_of(2)
    running.add(base, SHARED + "and then", **SHORT)
    running.steps_of(3)
    waits = running.add(base, SHARED + "but", **SHORT)
    running.steps_of(3)
    running.scheduler.cancel(1)
    running.finish()
    assert running.samples[waits] == alone(base, SHARED + "but", **SHORT)


def test_what_was_drafted_and_rejected_is_not_kept_as_if_it_had_been_said(models):
    drafting, plain = speaker(STEERED, models, "base:4"), speaker(STEERED, models)
    running = Together(kept_rows=2)
    settings = {"min_new_tokens": 12, "max_new_tokens": 12, "temperature": 0}
    running.add(drafting, SHARED, **settings)
    running.finish()
    text = running.samples[0][0].text
    assert running.samples[0] == alone(plain, SHARED, **settings)
    running.add(plain, SHARED + text + "and?", **settings)
    running.finish()
    assert running.samples[1] == alone(plain, SHARED + text + "and?", **settings)
