"""The data of the sentiment classifier: snippets that about twenty people rated from -4 to 4, as JSON Lines.

    python experiments/hold/sentiment.py FOLDER --output sentiment.jsonl

FOLDER is `hutto_ICWSM_2014` of the source distribution of vaderSentiment 3.3.2 (Hutto and Gilbert, ICWSM 2014): film
and product reviews, tweets, editorials. The score of a snippet is the share of people who rated it above 0; a 0 counts
as half. Each snippet has its first words, too, with the score of the whole, since `hold` reads unfinished texts.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = ("movieReviewSnippets", "amazonReviewSnippets", "tweets", "nytEditorialSnippets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=1000, help="snippets of each kind (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    draws = random.Random(chosen.seed)
    rows = [row for kind in KINDS for row in draws.sample(list(snippets(chosen.folder, kind, draws)), chosen.each)]
    chosen.output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"Wrote {chosen.output}: {len(rows):,} lines.")


def snippets(folder: Path, kind: str, draws: random.Random) -> Iterator[dict[str, Any]]:
    """Each snippet of a kind with its first words and its score."""
    raters = {name: json.loads(fields[-1]) for name, *fields in table(folder / f"{kind}_anonDataRatings.txt")}
    for name, _, text in table(folder / f"{kind}_GroundTruth.txt"):
        words, ratings = text.split(), raters[name]
        start = " ".join(words[: draws.randint(1, len(words))])
        score = sum((rating > 0) + (rating == 0) / 2 for rating in ratings) / len(ratings)
        yield {"text": text, "start": start, "score": round(score, 3)}


def table(file: Path) -> Iterator[list[str]]:
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        yield [field.strip() for field in line.split("\t")]


if __name__ == "__main__":
    main()
