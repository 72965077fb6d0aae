"""Choose what is trained on and what is only measured: groups of ParaDetox, and harmless texts of RealToxicityPrompts.

python experiments/contrastive/select_data.py paradetox.jsonl realtoxicityprompts.jsonl
"""

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
TRAINED, MEASURED = 2_000, 200
HARMLESS = 0.1
"""Perspective's score of prompt and continuation below which a text is taken for harmless."""


def main(pairs: str, texts: str) -> None:
    groups = [line for line in read(pairs) if any(text != line["toxic"] for text in line["neutral"])]
    random.Random(0).shuffle(groups)
    chosen = groups[: TRAINED + MEASURED]
    write("train.jsonl", chosen[:TRAINED])
    write("held_out.jsonl", chosen[TRAINED:])
    harmless = [line for line in read(texts) if toxicity(line) < HARMLESS]
    random.Random(0).shuffle(harmless)
    write("neutral.jsonl", [{"text": line["prompt"] + line["continuation"]} for line in harmless[:MEASURED]])


def toxicity(line: dict) -> float:
    """The higher of both parts' scores; 1 where one is not known."""
    scores = [line["prompt_toxicity"], line["continuation_toxicity"]]
    return 1.0 if None in scores else max(scores)


def read(file: str) -> list[dict]:
    """The lines of a file."""
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").split("\n") if line.strip()]


def write(name: str, lines: list[dict]) -> None:
    """A file beside this one."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (HERE / name).write_text(text, encoding="utf-8")
    print(f"{len(lines):,} lines to {HERE / name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
