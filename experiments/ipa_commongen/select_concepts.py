"""Choose what to train on and what to evaluate on, of CommonGen's lists of words; no set of words is in both.

python experiments/ipa_commongen/select_concepts.py commongen_concepts.jsonl
"""

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
EVALUATED = 100


def main(data: str) -> None:
    lines = [json.loads(line) for line in Path(data).read_text(encoding="utf-8").split("\n") if line.strip()]
    sets = list({tuple(sorted(line["concepts"])): line["concepts"] for line in lines}.values())
    random.Random(0).shuffle(sets)
    for name, chosen in (("test.jsonl", sets[:EVALUATED]), ("train.jsonl", sets[EVALUATED:])):
        text = "".join(json.dumps({"concepts": words}) + "\n" for words in chosen)
        (HERE / name).write_text(text, encoding="utf-8")
        print(f"{len(chosen)} lists of words to {HERE / name}.")


if __name__ == "__main__":
    main(sys.argv[1])
