"""Published methods by name: each recipe's formula, and what it says after five prompts.

python examples/recipes.py                       # two recipes, one prompt
python examples/recipes.py --page docs/recipes.md     # all of them, written into the page
"""

import argparse
import re
from pathlib import Path

import lmalgebra as la
from lmalgebra.algebra import classifier
from lmalgebra.algebra.recipes.prompts import ASSISTANT, GRUMPY, SYSTEM_PROMPTS

PROMPTS = (
    "What is the moon?",
    "Why is the sea salty?",
    "How do I make tea?",
    "Describe a city at night.",
    "Who are you?",
)
HISSING = (0.01, 0.1, 0.5, 0.97)


def hisses(texts: list[str]) -> list[float]:
    """A classifier: how probably a text hisses, by how many of its last three words begin with an s."""
    return [HISSING[sum(word.lower().startswith("s") for word in text.split()[-3:])] for text in texts]


def calm(texts: list[str]) -> list[float]:
    """A classifier: less probable with each exclamation."""
    return [0.9 * 0.1 ** text.count("!") for text in texts]


def formula(name: str) -> la.algebra.Formula:
    """The recipe of that name over prompts of one model."""
    small = la.model("smollm2-135m", dtype="float32", engine="torch")
    parts = {part: small.term(name=part, system=text) for part, text in SYSTEM_PROMPTS[name].items()}
    if name == "fudge":
        parts["classifier"] = classifier(hisses, top_k=200, name="classifier")
    if name == "union-detox-classifier":
        parts["classifier"] = classifier(calm, name="classifier")
    return la.recipes.recipe(name).build(parts)


def said(spoken: la.algebra.Formula, prompts: tuple[str, ...]) -> list[str]:
    """What a formula says after each prompt, greedily, on one line."""
    voice = la.voice(spoken, temperature=0, repetition_penalty=1.1, max_new_tokens=32)
    samples = sorted(voice.generate_many(prompts), key=lambda sample: sample.index)
    return [" ".join(sample.text.split()) for sample in samples]


def section(name: str) -> str:
    """The recipe's part of the page."""
    each = la.recipes.recipe(name)
    lines = [f"## {name}", "", f"{each.title[0].upper()}{each.title[1:]}: {each.paper}. Takes {each.described}.", ""]
    lines += ["```formula", str(each.formula), "```", ""]
    prompts = [f"- `{part}`: {text}" for part, text in SYSTEM_PROMPTS[name].items()]
    return "\n".join([*lines, *prompts, "", *table(formula(name))])


def table(spoken: la.algebra.Formula) -> list[str]:
    """The answers of a formula to all prompts."""
    answers = zip(PROMPTS, said(spoken, PROMPTS), strict=True)
    rows = [f"| {prompt} | {text.replace('|', '&#124;')} |" for prompt, text in answers]
    return ["| prompt | what it says |", "|---|---|", *rows]


def plain(system: str) -> str:
    """What the model says without a recipe, to compare with."""
    base = la.model("smollm2-135m", dtype="float32", engine="torch").term(name="base", system=system)
    return "\n".join([f"Without a recipe, under the prompt `{system}`", "", *table(base)])


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--page", type=Path, help="Write all recipes into this page, below its heading line '---'.")
    page = reader.parse_args().page
    if page is None:
        for name in ("cfg", "self-debias"):
            print(f"{name}: {la.recipes.recipe(name).formula}\n  {said(formula(name), PROMPTS[:1])[0]}")
        return
    top = re.split(r"^---$", page.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
    blocks = [*map(plain, (ASSISTANT, GRUMPY)), *map(section, la.recipes.RECIPES)]
    page.write_text(f"{top}---\n\n" + "\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
