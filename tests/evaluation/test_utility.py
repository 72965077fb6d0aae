"""The suite of utility: tasks over files, results like all others, and agreement with the harness's own model."""

import json
import shutil
from pathlib import Path

import pytest

import lmalgebra as la
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.evaluate import Evaluated
from lmalgebra.evaluation.reports.asked import reproduced
from lmalgebra.evaluation.reports.blocks import Code
from lmalgebra.evaluation.reports.compare import compare
from lmalgebra.evaluation.reports.outcomes import read_outcomes
from lmalgebra.evaluation.results import write_json
from lmalgebra.evaluation.settings import EvaluationSettings
from lmalgebra.evaluation.statistics import Quantity

pytest.importorskip("lm_eval")
import datasets
import lm_eval
from lm_eval.tasks import TaskManager

from lmalgebra.evaluation.utility.suite import Tasks, evaluate_utility
from lmalgebra.evaluation.utility.tasks import find_tasks

pytestmark = pytest.mark.filterwarnings("default")  # of the packages that the harness brings

QUESTIONS = Path(__file__).with_name("questions.jsonl")
TOYS = {f"toy {seed}": la.model(f"toy:{seed}").term(name="base", prefix="") for seed in (1, 2)}


@pytest.fixture(scope="session")
def manager() -> TaskManager:
    """What the harness knows, read once: it takes ten seconds."""
    return TaskManager()


@pytest.fixture
def known(manager, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **options: manager)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def folder(tmp_path) -> Path:
    """ARC as a folder has it that was made by hand, and BoolQ under its own columns."""
    arc = tmp_path / "data" / "ai2_arc" / "ARC-Easy"
    arc.mkdir(parents=True)
    shutil.copy(QUESTIONS, arc / "validation.jsonl")
    split = tmp_path / "data" / "boolq" / "none" / "validation"
    rows = [{"question": f"is {number} even", "answer": number % 2 == 0, "passage": "count."} for number in range(4)]
    datasets.Dataset.from_list(rows).save_to_disk(split)
    return tmp_path / "data"


def quantity(result: dict, voice: int, task: str, metric: str) -> Quantity:
    return Quantity.from_dict(result["voices"][voice]["metrics"][task][metric])


@pytest.mark.usefixtures("known")
def test_a_result_has_quantities_over_the_documents_of_all_tasks(folder, tmp_path):
    heard = []
    voices = [Evaluated(name, la.voice(term)) for name, term in TOYS.items()]
    tasks = Tasks(("arc_easy", "boolq"), limit=6, folder=folder)
    result = evaluate_utility(voices, tasks, tmp_path / "cache", lambda what, total: lambda done: heard.append(what))
    assert result["prompts"]["count"] == len(result["prompts"]["ids"]) == 6 + 4
    assert result["suite"] == "utility"
    assert result["options"] == {"tasks": "arc_easy,boolq", "limit": 6, "tasks-from": "data"}
    assert result["measures"]["boolq"]["shots"] == 0
    assert set(heard) == {"toy 1: likelihoods", "toy 2: likelihoods"}
    assert "lm-eval" in result["versions"]
    for place, (_, voice) in enumerate((each.name, each.voice) for each in voices):
        right = []
        for line in QUESTIONS.read_text().splitlines()[:6]:
            row = json.loads(line)
            context, choices = f"Question: {row['question']}\nAnswer:", row["choices"]["text"]
            scores = [voice.score(context, f" {choice}").total for choice in choices]
            right.append(float("ABCD"[scores.index(max(scores))] == row["answerKey"]))
        found = quantity(result, place, "arc_easy", "acc")
        assert found.numerators.tolist() == [*right, 0, 0, 0, 0]
        assert found.denominators.tolist() == [1] * 6 + [0] * 4
        assert found.lower_is_better is False
        assert found.value == pytest.approx(sum(right) / 6)
        assert quantity(result, place, "boolq", "acc").denominators.sum() == 4
    again = evaluate_utility(voices, tasks, tmp_path / "cache")
    assert again == result
    file = tmp_path / "result.json"
    write_json(result, file)
    first, second = outcomes = read_outcomes([file])
    assert [one.key for one in compare(outcomes).compared] == list(first.quantities) == list(second.quantities)
    command = next(block for block in reproduced(outcomes) if isinstance(block, Code)).text
    assert command.split("toy-2.toml")[1].replace("\\\n", "").split() == (
        ["--suite", "utility", "--tasks", "arc_easy,boolq", "--limit", "6", "--tasks-from", "data"]
    )


def test_a_task_keeps_all_but_where_it_reads(manager, folder):
    ((group),) = find_tasks(["arc_easy"], folder, manager)
    (changes,) = group["task"]
    assert changes["dataset_path"] == "json"
    assert changes["test_split"] is None
    assert changes["validation_split"] == "validation"
    assert set(changes["dataset_kwargs"]["data_files"]) == {"validation"}
    assert find_tasks(["arc_easy", "piqa"], None, manager) == ["arc_easy", "piqa"]


def test_a_tag_stands_for_its_tasks(manager, folder):
    shutil.copytree(folder / "ai2_arc" / "ARC-Easy", folder / "ai2_arc" / "ARC-Challenge")
    ((group),) = find_tasks(["ai2_arc"], folder, manager)
    assert [each["task"] for each in group["task"]] == ["arc_challenge", "arc_easy"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("arc_esy", r"lm-evaluation-harness has no task 'arc_esy'. Did you mean 'arc_easy'\?"),
        ("piqa", r"holds no data of the task 'piqa'. Put them into 'piqa' there, as .arrow, .parquet"),
        ("winogrande", r"Put them into 'winogrande/winogrande_xl' there"),
    ],
)
def test_what_cannot_be_found_is_said(manager, folder, name, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        find_tasks([name], folder, manager)


def test_a_split_that_is_missing_is_said(manager, folder):
    (folder / "ai2_arc" / "ARC-Easy" / "validation.jsonl").rename(folder / "ai2_arc" / "ARC-Easy" / "train.jsonl")
    with pytest.raises(
        EvaluationError, match=r"has no split 'validation' or 'test' of the task 'arc_easy'. It has: train"
    ):
        find_tasks(["arc_easy"], folder, manager)


@pytest.mark.usefixtures("known")
def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    voices = [Evaluated("toy", la.voice(TOYS["toy 1"]))]
    with pytest.raises(EvaluationError, match=r"The data of arc_easy cannot be had: .*--tasks-from"):
        evaluate_utility(voices, Tasks(("arc_easy",), limit=2), tmp_path)


def test_a_file_of_samples_cannot_be_asked(tmp_path):
    with pytest.raises(EvaluationError, match="holds what was said, and the suite 'utility' asks a voice"):
        evaluate_utility([Evaluated("said", tmp_path / "said.jsonl")], Tasks(("arc_easy",)), tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"suite": "utility"}, "tasks is not given. Add --tasks on the command line"),
        (
            {"suite": "utility", "tasks": ("piqa",), "prompts": "x.jsonl"},
            "prompts means nothing to the suite 'utility'",
        ),
        ({"suite": "utility", "tasks": ("piqa",), "temperature": 0.5}, "temperature means nothing to the suite"),
        ({"suite": "utility", "tasks": ("piqa",), "limit": 0}, "limit = 0 is out of range"),
        ({"prompts": "x.jsonl", "tasks": ("piqa",)}, "tasks means nothing to the suite 'toxicity'"),
        ({}, "prompts is not given. Add --prompts on the command line"),
    ],
)
def test_settings_of_another_suite_are_refused(given, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        EvaluationSettings(voices=("voice.toml",), **given)


@pytest.fixture
def plain(smollm2) -> la.ComposedVoice:
    """The plain model as a voice, in float32."""
    return la.voice(la.model(str(smollm2), dtype="float32", engine="torch").term(name="plain", prefix=""))


@pytest.fixture
def transformers_model(smollm2):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(smollm2), dtype="float32", device="cpu", batch_size=8)


@pytest.mark.usefixtures("known")
def test_a_one_term_voice_scores_as_the_harness_scores_the_model(plain, transformers_model, manager, folder, tmp_path):
    theirs = lm_eval.simple_evaluate(
        model=transformers_model,
        tasks=find_tasks(["arc_easy"], folder, manager),
        task_manager=manager,
        bootstrap_iters=0,
    )
    tasks = Tasks(("arc_easy",), folder=folder)
    result = evaluate_utility([Evaluated("plain", plain)], tasks, tmp_path / "cache")
    samples = theirs["samples"]["arc_easy"]
    for metric in ("acc", "acc_norm"):
        assert quantity(result, 0, "arc_easy", metric).numerators.tolist() == [each[metric] for each in samples]
        assert quantity(result, 0, "arc_easy", metric).value == theirs["results"]["arc_easy"][f"{metric},none"]
    (kept,) = (tmp_path / "cache" / "utility").glob("*.jsonl")
    ours = [json.loads(line)[1] for line in kept.read_text().splitlines()]
    expected = [each for sample in samples for each in sample["filtered_resps"]]
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in expected], abs=1e-3)
    assert [is_greedy for _, is_greedy in ours] == [is_greedy for _, is_greedy in expected]


def test_a_one_term_voice_says_and_reads_what_the_harness_says_of_the_model(plain, transformers_model):
    from lm_eval.api.instance import Instance

    from lmalgebra.evaluation.utility.voice_model import VoiceLM

    wishes = {"until": ["\n\n"], "max_gen_toks": 12, "do_sample": False}
    said = [Instance("generate_until", {}, (f"The capital of {each} is", wishes), 0) for each in ("France", "Peru")]
    texts = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in ("It rains today.", "A")]
    pairs = [Instance("loglikelihood", {}, each, 0) for each in (("", "Hello"), ("One,\n", "two"), ("a ", " b "))]
    ours = VoiceLM(plain)
    assert ours.generate_until(said) == transformers_model.generate_until(said)
    assert ours.loglikelihood_rolling(texts) == pytest.approx(transformers_model.loglikelihood_rolling(texts), abs=1e-3)
    expected = transformers_model.loglikelihood(pairs)
    assert [value for value, _ in ours.loglikelihood(pairs)] == pytest.approx([each for each, _ in expected], abs=1e-3)


@pytest.mark.usefixtures("known")
def test_the_commands(folder, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from lmalgebra.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("toy.toml").write_text(
        'formula = "base"\n[models.toy]\nsource = "toy"\n[terms.base]\nmodel = "toy"\nprefix = ""\n'
    )
    command = f"evaluate toy.toml --suite utility --tasks arc_easy --limit 3 --tasks-from {folder} --cache kept"
    shown = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.replace(" ", "").startswith("|arc_easy|acc|accnorm|")
    assert json.loads(Path("evaluation.json").read_text())["prompts"]["count"] == 3
    Path("own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: "
        f"{folder / 'ai2_arc' / 'ARC-Easy' / 'validation.jsonl'}}}}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answerKey}}'\n"
        "generation_kwargs: {until: ['.'], max_gen_toks: 3}\nmetric_list: [{metric: exact_match}]\n"
    )
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **options: TaskManager(include_defaults=False, **options))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    command = "lm-eval run --model lmalgebra --model_args voice=toy.toml --tasks own.yaml --limit 2"
    shown = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "exact_match" in shown.stdout
    command = "lm-eval run --model lmalgebra --model_args voice=toy.toml,size=3 --tasks own.yaml --limit 2"
    shown = CliRunner().invoke(app, command.split())
    assert (shown.exit_code, "--model_args has no size for voices." in shown.stderr) == (2, True)
