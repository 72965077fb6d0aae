"""The harness's own figures of a Hugging Face model, on the same documents as `lmalgebra evaluate` takes.

python experiments/utility/with_transformers.py MODEL_FOLDER TASKS LIMIT TASKS_FROM RESULT.json
"""

import json
import sys
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

from lmalgebra.evaluation.utility.tasks import find_tasks


def main() -> None:
    folder, names, limit, tasks_from, output = sys.argv[1:]
    manager = TaskManager()
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": folder, "dtype": "float32"},
        tasks=find_tasks(names.split(","), Path(tasks_from), manager),
        task_manager=manager,
        limit=int(limit),
        batch_size=8,
        device="cpu",
        bootstrap_iters=0,
    )
    tasks = {
        name: {
            key: {"value": found["results"][name][f"{key},none"], "numerators": [int(each[key]) for each in samples]}
            for key in samples[0]["metrics"]
        }
        for name, samples in found["samples"].items()
    }
    likelihoods = {
        name: [[round(score, 4) for score, _ in sample["filtered_resps"]] for sample in samples]
        for name, samples in found["samples"].items()
    }
    result = {"lm_eval": found["lm_eval_version"], "limit": int(limit), "tasks": tasks, "likelihoods": likelihoods}
    Path(output).write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
