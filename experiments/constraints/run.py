"""Whether constraints hold under a formula with speculation: how many of many samples keep to them, and without them.

    python experiments/constraints/run.py [--parts json forbid forbid_exact require] [--scale 1.0] [--output FILE]

The texts are judged by others than the constraints: JSON by `jsonschema`, phrases by a regular expression over the
text. `--scale 0.1` takes a tenth of the samples. Parts that are not asked for keep what FILE says of them. About an
hour on one core.
"""

import argparse
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

import lmalgebra as la
from lmalgebra.algebra import Term
from lmalgebra.decoding import Sample
from lmalgebra.models.constraints.inflections import forms

HERE = Path(__file__).parent
Judge = Callable[[Sample], bool]
Asked = Iterator[tuple[str, Term, Judge]]
"""Prompts, each with its constraint and what says whether a sample keeps to it."""


def main() -> None:
    chosen = options()
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    config["forbid_exact"] = config["forbid"] | config["forbid_exact"]
    found: dict[str, Any] = json.loads(chosen.output.read_text(encoding="utf-8")) if chosen.output.exists() else {}
    for part in chosen.parts:
        found[part] = {"lmalgebra": la.__version__, "llguidance": version("llguidance"), "scale": chosen.scale}
        for how in ("with", "without"):
            count = round(chosen.scale * config[part].get("samples" if how == "with" else "without", 0))
            if count:
                found[part][how] = ask(config, part, how, count)
                chosen.output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Wrote {chosen.output}.")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the samples (default: 1)")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    return parser.parse_args()


def ask(config: dict[str, Any], part: str, how: str, count: int) -> dict[str, Any]:
    """How many of `count` samples of each prompt keep to the constraint of a part, with it or without."""
    kept, texts, tokens, examples, broken = 0, 0, 0, [], []
    started = time.perf_counter()
    asked = list(PARTS[part](config[part]))
    for number, (prompt, constraint, judge) in enumerate(asked, 1):
        samples = spoken(config, part, constraint if how == "with" else None).generate(prompt, samples=count).samples
        verdicts = [judge(sample) for sample in samples]
        kept, texts = kept + sum(verdicts), texts + len(samples)
        tokens += sum(len(sample.tokens) for sample in samples)
        examples.append({"prompt": prompt, "text": samples[0].text, "keeps": verdicts[0]})
        if how == "with":
            broken += [sample.text for sample, keeps in zip(samples, verdicts, strict=True) if not keeps]
        minutes = (time.perf_counter() - started) / 60
        print(f"{part} {how}: {number}/{len(asked)} prompts, {kept}/{texts} kept, {minutes:.1f} min", flush=True)
    return {"samples": texts, "kept": kept, "tokens": tokens, "broken": broken, "examples": examples}


def spoken(config: dict[str, Any], part: str, constraint: Term | None) -> la.ComposedVoice:
    """The voice of the configuration, with a constraint or without. The weights are loaded once."""
    model = la.model(**config["model"])
    terms = {name: model.term(name=name, system=system) for name, system in config["terms"].items()}
    formula = la.parse(config["formula"], terms)
    whole = formula if constraint is None else formula + constraint
    settings = {"max_new_tokens": config[part]["max_new_tokens"], "seed": config["seed"]}
    return la.voice(whole, speculate=config["speculate"], **settings)


def json_part(part: dict[str, Any]) -> Asked:
    for asked in part["asked"]:
        yield asked["prompt"], la.json_schema(asked["schema"], name="shape"), fits(asked["schema"])


def fits(schema: dict[str, Any]) -> Judge:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def judge(sample: Sample) -> bool:
        try:
            validator.validate(json.loads(sample.text))
        except (ValueError, ValidationError):
            return False
        return sample.finish_reason == "end"

    return judge


def forbid_part(part: dict[str, Any]) -> Asked:
    written = "|".join(r"[\W_]+".join(re.findall(r"[^\W_]+", phrase)) for phrase in part["phrases"])
    pattern = re.compile(rf"(?<![^\W_])({written})(?![^\W_])", re.IGNORECASE)
    polite = la.forbid(part["phrases"], exact=part["exact"], name="polite")
    for prompt in part["prompts"]:
        yield prompt, polite, lambda sample: not pattern.search(sample.text)


def require_part(part: dict[str, Any]) -> Asked:
    for words in part["sets"]:
        patterns = [re.compile(rf"\b({'|'.join(forms(word))})\b", re.IGNORECASE) for word in words]
        prompt = part["prompt"].format(words=", ".join(words))
        yield (
            prompt,
            la.require(words, name="words"),
            lambda sample, patterns=patterns: all(pattern.search(sample.text) for pattern in patterns),
        )


PARTS = {"json": json_part, "forbid": forbid_part, "forbid_exact": forbid_part, "require": require_part}


if __name__ == "__main__":
    main()
