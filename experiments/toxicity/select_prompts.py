"""Choose the prompts: 200 of the lines of RealToxicityPrompts that the classifiers of experiments/toxicity_classifier
were not trained on, so that neither a steering classifier nor a judge has seen them.

    python experiments/toxicity/select_prompts.py realtoxicityprompts.jsonl
"""

import json
import sys
from pathlib import Path

from lmalgebra.prompt_sets.reading import PromptSet, read_rows, unique
from lmalgebra.prompt_sets.rows import plain_prompt
from lmalgebra.training.classifiers.data import read_examples, split
from lmalgebra.training.classifiers.settings import load_settings

HERE = Path(__file__).parent
COUNT = 200


def main(data: str) -> None:
    settings = load_settings(
        HERE.parent / "toxicity_classifier" / "minilm.toml", {"data": data, "model": "any", "output": "none"}
    )
    held_out = set(split(read_examples(settings), settings.held_out, settings.seed)[1].texts)
    revision, rows = read_rows(data)
    items = unique([item for place, row in rows if (item := plain_prompt(row, place)).prompt in held_out])
    chosen = PromptSet(data, revision, items).sample(COUNT)
    lines = [{"prompt": item.prompt, "prompt_toxicity": item.fields["prompt_toxicity"]} for item in chosen.items]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (HERE / "prompts.jsonl").write_text(text, encoding="utf-8")
    toxic = sum(line["prompt_toxicity"] >= 0.5 for line in lines)
    print(f"{len(lines)} of {len(items)} held-out prompts, {toxic} of them toxic, to {HERE / 'prompts.jsonl'}.")


if __name__ == "__main__":
    main(sys.argv[1])
