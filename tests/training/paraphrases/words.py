"""A corpus, a judge and an encoder of which everything can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

import torch

from lmalgebra.training.paraphrases.settings import ParaphraseSettings

OFF = {"embedder": "none", "fluency": "none"}


class CountedWords:
    """A text's vector counts its words, at length 1, as an encoder of sentences gives it."""

    def vectors(self, texts: list[str]) -> torch.Tensor:
        words = sorted({word for text in texts for word in text.split()})
        counts = torch.tensor([[float(text.split().count(word)) for word in words] for text in texts])
        return counts / counts.norm(dim=-1, keepdim=True)


def write_corpus(file: Path, count: int = 6) -> Path:
    file.write_text("".join(json.dumps({"text": f"sentence number {number}"}) + "\n" for number in range(count)))
    return file


def settings(folder: Path, **changes: Any) -> ParaphraseSettings:
    """Without judge or models, of a corpus in `folder`; each side's template begins with its letter."""
    corpus = folder / "corpus.jsonl"
    if not corpus.exists():
        write_corpus(corpus)
    values: dict[str, Any] = {"corpus": str(corpus), "output": str(folder / "out.jsonl"), "tries": 2, **OFF}
    values |= {"positive_template": "p {{ text }}", "negative_template": "n {{ text }}"}
    return ParaphraseSettings(**values | changes)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
