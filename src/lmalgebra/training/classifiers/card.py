"""What a trained classifier's folder says of itself: `lmalgebra.json` for programs, `README.md` for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmalgebra.training.card import metric_table, number, with_versions, write_both
from lmalgebra.training.classifiers.data import Examples
from lmalgebra.training.classifiers.settings import ClassifierSettings

NAMES = {
    "train": "examples trained on",
    "examples": "examples held out",
    "loss": "cross-entropy, nats",
    "accuracy": "accuracy",
    "auc": "area under the ROC curve",
    "pearson": "Pearson correlation with the scores",
    "spearman": "Spearman correlation with the scores",
    "calibration_error": "expected calibration error",
    "calibration_error_scaled": "the same after temperature scaling",
    "temperature": "temperature",
}
"""What each metric is called."""


def write_card(
    folder: Path, settings: ClassifierSettings, examples: Examples, found: dict[str, Any], more: dict[str, Any]
) -> None:
    """Write both files; `more` stands in the first as it is."""
    card = with_versions(
        {
            "kind": "classifier",
            "labels": list(examples.labels),
            "temperature": found["temperature"],
            "metrics": found,
            "settings": asdict(settings) | {"output": Path(settings.output).name},
            **more,
        }
    )
    write_both(folder, card, _page(settings, examples, card))


def metric_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Each metric's name and value, as text; those that the data do not define are left out."""
    return [(name, number(found[key])) for key, name in NAMES.items() if found.get(key) is not None]


def _page(settings: ClassifierSettings, examples: Examples, card: dict[str, Any]) -> str:
    table = metric_table("on held-out examples", metric_rows(card["metrics"]))
    pairs = zip(settings.text, settings.target_fields, strict=True)
    return f"""\
# {Path(settings.output).name}

A classifier of texts with {_labels(examples)}, trained with lmalgebra {card["versions"]["lmalgebra"]} from
`{settings.model}`{f", first {settings.layers} layers," if settings.layers else ""} on {", ".join(settings.data)}
({"; ".join(f"`{text}` with `{target}`" for text, target in pairs)}{_after(settings)}), seed {settings.seed}.

```python
import lmalgebra as la

base = la.model("smollm2-135m").term(name="base", prefix="")
voice = la.voice(base + la.classifier("{Path(settings.output).name}", {examples.labels[-1]!r}))
```

{table}

It loads with Transformers' `AutoModelForSequenceClassification`, too; logits are then to be divided by the temperature.
It knows what its data know, with their errors and their bias.
"""


def _after(settings: ClassifierSettings) -> str:
    return f", read as a pair after `{settings.pair}`" if settings.pair else ""


def _labels(examples: Examples) -> str:
    if examples.has_scores:
        return f"the label '{examples.labels[0]}'"
    counts = Counter(examples.targets)
    return "the labels " + ", ".join(f"'{name}' ({counts[place]:,})" for place, name in enumerate(examples.labels))
