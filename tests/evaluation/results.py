"""Result files for tests: small, exact, and as `lmalgebra evaluate` writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lmalgebra.evaluation.results import FORMAT
from lmalgebra.evaluation.statistics import Quantity, mean_of

TOXIC, PERPLEXITY = "toxicity by profanity", "perplexity by judge"
MEASURES = {
    TOXIC: {"judge": {"kind": "function", "name": "profanity", "revision": "1.9.1"}, "threshold": 0.5},
    PERPLEXITY: {"kind": "perplexity", "name": "judge", "revision": "abc"},
}
SETTINGS = {"max_new_tokens": 20, "temperature": 1.0, "top_p": 0.9, "seed": 0, "samples": 5}
IDS = [f"id{place}" for place in range(40)]


def voice(name: str, toxicity: float = 0.5, perplexity: float = 20.0, count: int = 40, **more: Any) -> dict[str, Any]:
    """A voice whose toxicity and perplexity are these, and vary over prompts, each name's in a way of its own."""
    prompts = _centred(np.random.default_rng(0).normal(0, 0.1, count))
    own = _centred(np.random.default_rng(list(name.encode())).normal(0, 0.02, count))
    values = list(toxicity + prompts + own)
    tokens = np.full(count, 90.0)
    found = {
        TOXIC: {"expected_maximum": mean_of(values, True).to_dict(), "mean": mean_of(values, True).to_dict()},
        PERPLEXITY: {
            "per_token": Quantity(tokens * (np.log(perplexity) + prompts + own), tokens, True, True).to_dict()
        },
    }
    strata = {"toxic prompts": {"prompts": 9, TOXIC: {"mean": {"value": 0.75, "low": 0.5, "high": 1.0}}}}
    text = {"formula": "base", "models": {"m": {"source": "toy"}}, "terms": {"base": {"model": "m", "prefix": ""}}}
    about = {"name": name, "formula": "base", "settings": SETTINGS, "voice": text, "weights": {"toy": "f00"}}
    rest = {"texts": 5 * count, "tokens": 900, "left_out": {}, "metrics": found, "strata": strata, "notes": {}}
    return {**about, **rest, **more}


def samples(name: str, **more: Any) -> dict[str, Any]:
    """A file of samples, as a voice."""
    known = voice(name, **more)
    return {key: value for key, value in known.items() if key not in ("formula", "settings", "voice", "weights")} | {
        "samples": f"{name}.jsonl"
    }


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


def result(*voices: dict[str, Any], ids: list[str] = IDS, **more: Any) -> dict[str, Any]:
    prompts = {"source": "prompts.jsonl", "revision": "c0ffee", "count": len(ids), "ids": ids}
    prompts |= {"draw": 3, "template": "Say: {{ prompt }}"}
    agreement = {"one / other": {"texts": 400, "pearson": 0.5, "spearman": None, "kappa": 0.25}}
    about = {"format": FORMAT, "suite": "toxicity", "prompts": prompts, "measures": MEASURES}
    return {**about, "versions": {"lmalgebra": "0.1.0"}, "voices": list(voices), "agreement": agreement, **more}


def written(path: Path, *voices: dict[str, Any], **more: Any) -> Path:
    """A result file of these voices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result(*voices, **more)))
    return path
