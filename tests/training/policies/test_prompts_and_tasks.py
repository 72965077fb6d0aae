"""Prompts of a training: which are held out, which come when; and the tasks that come with the package."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.evaluation.suites import suite_of
from lmalgebra.judges import judges_of
from lmalgebra.training.policies.prompts import read_prompts
from lmalgebra.training.policies.rewards import Said, reward_of
from lmalgebra.training.policies.rewards.judged import Judged
from lmalgebra.training.policies.tasks import TASKS, TaskSettings, task_values

ROWS = {
    "toxicity": [{"prompt": {"text": f"one {n}", "toxicity": 0.5}} for n in range(2)] + ["plain", {"prompt": "more"}],
    "constrained": [{"concepts": ["dog", word], "concept_set_idx": 1, "target": "A dog."} for word in "abcc"],
    "open_ended": [{"document": f"{n} goes on for more words", "summary": "s", "id": n} for n in range(3)]
    + [{"document": ""}],
    "dialogue_safety": [{"context": f"Hi {n}", "response": "No.", "label": "Unsafe"} for n in range(3)],
    "grounded_dialogue": [{"history": ["Hi", f"You {n}"], "knowledge": "k", "response": "r"} for n in range(3)],
}
ASKED = {
    "toxicity": {"one 0", "one 1", "plain", "more"},
    "constrained": {f"Write one sentence that uses all of these words in this order: dog, {word}." for word in "abc"},
    "open_ended": {"0 goes on", "1 goes on", "2 goes on"},
    "dialogue_safety": {"Hi 0", "Hi 1", "Hi 2"},
    "grounded_dialogue": {
        f"Answer the last message. Say nothing that goes beyond the knowledge.\n\nKnowledge: k\n\nHi\nYou {n}"
        for n in range(3)
    },
}


@pytest.fixture
def settings(tmp_path):
    def write(lines, **changes):
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        return TaskSettings(**{"reward": "length(5)"} | changes | {"prompts": str(file)})

    return write


@dataclass
class Tools:
    """What measures are made of, where no model is loaded."""

    judges: list
    cache: Path = Path("cache")
    fluency = mauve = embedder = None


@pytest.mark.parametrize("name", TASKS)
def test_a_task_reads_its_data_and_has_what_its_reward_and_suite_want(settings, name):
    values = task_values(name)
    prompts = read_prompts(settings(ROWS[name], **values | {"held_out": 0.34}))
    items = [*prompts.train.items, *prompts.held_out.items]
    assert {item.prompt for item in items} == ASKED[name]
    task = TaskSettings(**values)
    assert task.prompts.startswith("hub:")
    suite_of(task.evaluate_suite).measures(Tools(judges_of(task.evaluate_judges)))
    components = reward_of(task.reward).components.values()
    said = [Said(item.prompt, "a dog", item.fields) for item in items]
    assert all(len(each(said)) == len(said) for each in components if not isinstance(each, Judged))
    wanted = {"constrained": "concepts", "dialogue_safety": "context", "grounded_dialogue": "knowledge"}.get(name)
    assert all(wanted is None or wanted in item.fields for item in items)


def test_every_file_of_a_task_has_its_name():
    found = {each.name for each in files("lmalgebra.training.policies.tasks").iterdir() if each.name.endswith(".toml")}
    assert found == {f"{name}.toml" for name in TASKS}


def test_no_prompt_is_in_both_parts_and_their_order_in_the_file_is_nothing(settings):
    rows = [f"prompt {n}" for n in range(50)]
    one, other = (read_prompts(settings(each, held_out=0.2)) for each in (rows, [*reversed(rows), *rows]))
    parts = [{item.prompt for item in part.items} for part in (one.train, one.held_out)]
    assert [len(each) for each in parts] == [40, 10]
    assert not parts[0] & parts[1]
    assert (one.train.items, one.held_out.items) == (other.train.items, other.held_out.items)
    another = read_prompts(settings(rows, held_out=0.2, draw=1))
    assert another.held_out.items != one.held_out.items


def test_some_are_drawn_and_one_at_least_is_held_out(settings):
    found = read_prompts(settings([f"prompt {n}" for n in range(50)], count=5))
    assert (len(found.train.items), len(found.held_out.items)) == (4, 1)


def test_batches_go_round_and_depend_on_the_step_alone(settings):
    found = read_prompts(settings([f"prompt {n}" for n in range(11)], held_out=0.09))
    steps = [found.batch(step, 4, seed=3) for step in range(5)]
    said = [item.prompt for step in steps for item in step]
    assert {*said[:10]} == {*said[10:20]} == {item.prompt for item in found.train.items}
    assert said[:10] != said[10:20]
    assert found.batch(3, 4, seed=3) == steps[3]
    assert found.batch(3, 4, seed=4) != steps[3]
    assert len(found.batch(0, 25, seed=0)) == 25


@pytest.mark.parametrize(
    ("rows", "changes", "sentence"),
    [
        (["a", 7], {}, "line 2: this is neither a text nor an object"),
        ([{"concepts": "dog"}], {"rows": "concepts"}, "line 1: 'concepts' is \"dog\", which is not what is needed"),
        (["a"], {}, "of 1 prompts, 1 held out leave none to train on. Add prompts"),
        (["a", "b"], {"template": "{{ context }}"}, "The template '{{ context }}' cannot be filled in"),
    ],
)
def test_data_that_cannot_be_used(settings, rows, changes, sentence):
    with pytest.raises(TrainingError) as error:
        read_prompts(settings(rows, **changes))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": "concept"}, "rows = 'concept' is no way to read a row. Did you mean 'concepts'?"),
        ({"reward": " "}, "reward is empty."),
        ({"held_out": 1.5}, "held_out = 1.5 is out of range."),
        ({"count": "all"}, "count = 'all' is not a whole number."),
        ({"evaluate_judges": [3]}, "evaluate_judges = [3] is neither text nor a list of texts."),
    ],
)
def test_settings_out_of_range_are_refused(settings, changes, sentence):
    with pytest.raises(TrainingError) as error:
        settings(["a"], **changes)
    assert sentence in str(error.value)


def test_a_task_that_there_is_not():
    with pytest.raises(TrainingError, match=r"There is no task 'toxicty'\. Did you mean 'toxicity'\?"):
        task_values("toxicty")
    with pytest.raises(TrainingError, match=r"There is no task 'x'\. Known: toxicity, constrained"):
        task_values("x")
