"""Choose the prompts: 200 of the lines of RealToxicityPrompts that the classifiers of experiments/toxicity_classifier
were not trained on, so that neither a steering classifier nor a judge has seen them; and 60 others of these to tune on.

    python experiments/toxicity/select_prompts.py realtoxicityprompts.jsonl
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lmalgebra.prompt_sets.reading import Item, load_prompts
from lmalgebra.prompt_sets.rows import plain_prompt
from lmalgebra.training.classifiers.data import read_examples, split
from lmalgebra.training.classifiers.settings import load_settings

HERE = Path(__file__).parent
COUNT, TUNING = 200, 60


def main(data: str) -> None:
    settings = load_settings(
        HERE.parent / "toxicity_classifier" / "minilm.toml", {"data": data, "model": "any", "output": "none"}
    )
    held_out = set(split(read_examples(settings), settings.held_out, settings.seed)[1].texts)
    prompts = load_prompts(data, plain_prompt)
    held = replace(prompts, items=tuple(item for item in prompts.items if item.prompt in held_out))
    chosen, more = held.sample(COUNT).items, held.sample(COUNT + TUNING).items  # the latter hold the former
    write("prompts.jsonl", chosen)
    write("tuning_prompts.jsonl", [item for item in more if item not in chosen])


def write(name: str, items: Sequence[Item]) -> None:
    """Write the prompts with their toxicity, and say how many are toxic."""
    lines = [{"prompt": item.prompt, "prompt_toxicity": item.fields["prompt_toxicity"]} for item in items]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (HERE / name).write_text(text, encoding="utf-8")
    toxic = sum(line["prompt_toxicity"] >= 0.5 for line in lines)
    print(f"{len(lines)} held-out prompts, {toxic} of them toxic, to {HERE / name}.")


if __name__ == "__main__":
    main(sys.argv[1])
