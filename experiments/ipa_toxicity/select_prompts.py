"""Choose what to train on: the lines of RealToxicityPrompts that experiments/toxicity neither judges nor tunes on.

python experiments/ipa_toxicity/select_prompts.py realtoxicityprompts.jsonl
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
KEPT_AWAY = [HERE.parent / "toxicity" / name for name in ("prompts.jsonl", "tuning_prompts.jsonl")]


def main(data: str) -> None:
    away = {line["prompt"] for file in KEPT_AWAY for line in read(file)}
    chosen = [line for line in read(Path(data)) if line["prompt"] not in away]
    kept = [{name: line[name] for name in ("prompt", "prompt_toxicity")} for line in chosen]
    file = HERE / "train_prompts.jsonl"
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
    print(f"{len(kept):,} prompts to {file}; {len(away)} are kept away.")


def read(file: Path) -> list[dict[str, object]]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main(sys.argv[1])
