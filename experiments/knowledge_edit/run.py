"""Write six facts anew in a small model, and measure what it now says of them, in other words, and of other facts.

lmalgebra train contrast experiments/knowledge_edit/settings.toml
python experiments/knowledge_edit/run.py edited
"""

import json
import sys
from pathlib import Path

import lmalgebra as la
from lmalgebra.training.contrast.edits import measure_edits, read_edits

HERE = Path(__file__).parent
WEIGHTS = (0.7, 1.0, 1.5)


def main(adapter: str) -> None:
    edits = read_edits(str(HERE / "edits.jsonl"))
    small = la.model("smollm2-135m", engine="torch", dtype="float32")
    base = small.term(prefix="", name="base")
    edited = small.term(prefix="", name="edited", adapter=adapter)
    before = la.voice(base)
    voices = {"base": before} | {
        f"base + {weight} * (edited - base)": la.voice(base + weight * (edited - base)) for weight in WEIGHTS
    }
    found = {name: measure_edits(edits, voice, before) for name, voice in voices.items()}
    (HERE / "results.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, measures in found.items():
        print(f"{name:<28}", "  ".join(f"{key} {value:.2f}" for key, value in measures.items()))


if __name__ == "__main__":
    main(sys.argv[1])
