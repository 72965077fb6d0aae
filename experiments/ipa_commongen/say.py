"""Let the base and the adapter speak, freely and under `require`, whose words are those of each prompt.

    python experiments/ipa_commongen/say.py [--samples 4] [--count 100]

Writes files of samples beside this one, which settings.toml evaluates, each line {"prompt": ..., "text": ...}.
"""

import argparse
import json
from pathlib import Path

import lmalgebra as la
from lmalgebra.evaluation.suites import suite_of
from lmalgebra.prompt_sets import load_prompts

HERE = Path(__file__).parent
SUITE = suite_of("commongen")
TERMS = ("base", "adapter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=SUITE.settings["samples"], help="of each prompt (default: 4)")
    parser.add_argument("--count", type=int, default=100, help="prompts (default: 100)")
    chosen = parser.parse_args()
    items = load_prompts(str(HERE / "test.jsonl"), SUITE.read, SUITE.template).items[: chosen.count]
    drawn = SUITE.settings | {"samples": chosen.samples}
    models = la.Models()
    terms = {term.name: term for term in la.load(HERE / "spoken.toml", models=models).voice.terms}
    for name in TERMS:
        for constrained in (False, True):
            lines = []
            for number, item in enumerate(items, 1):
                words = la.require(item.fields["concepts"])
                voice = la.voice(terms[name] + words if constrained else terms[name], models=models)
                said = voice.generate(item.prompt, seed=number * 1000, **drawn).samples
                lines += [json.dumps({"prompt": item.prompt, "text": each.text}, ensure_ascii=False) for each in said]
            file = HERE / f"{name}{'_require' if constrained else ''}.jsonl"
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            print(f"{len(lines)} samples to {file}.", flush=True)


if __name__ == "__main__":
    main()
