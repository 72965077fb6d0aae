"""What a folder that was trained by contrast says of itself: `lmalgebra.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmalgebra.models.sequence_classifier import CARD
from lmalgebra.training.contrast.measuring import NAMES
from lmalgebra.training.contrast.settings import ContrastSettings

LIBRARIES = ("lmalgebra", "torch", "transformers")


def write_card(folder: Path, settings: ContrastSettings, found: dict[str, Any]) -> None:
    """Write both files. `found` has counts of `groups`, what was `measured`, `losses`, and why it `ended` early."""
    is_adapter = settings.method != "full" and not settings.merge
    card = {
        "kind": "adapter" if is_adapter else "model",
        "base": settings.model,
        "settings": asdict(settings) | {"output": Path(settings.output).name},
        **found,
        "versions": {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()},
    }
    (folder / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    use = _as_adapter(settings) if is_adapter else _as_model(settings)
    (folder / "README.md").write_text(_page(settings, card, use), encoding="utf-8")


def _page(settings: ContrastSettings, card: dict[str, Any], use: str) -> str:
    first, last = card["measured"][0], card["measured"][-1]
    rows = "\n".join(f"| {NAMES[key]} | {first[key]:,.4f} | {last[key]:,.4f} |" for key in NAMES if key in last)
    return f"""\
# {Path(settings.output).name}

`{settings.model}`, trained with lmalgebra {card["versions"]["lmalgebra"]} by the objective `{settings.objective}` on
{card["groups"]["train"]:,} groups of {", ".join(settings.data)} (positives: {", ".join(settings.positives)}; negatives:
{", ".join(settings.negatives)}), seed {settings.seed}. {card["ended"]}

```toml
{use}```

| on {card["groups"]["held_out"]:,} held-out groups | before | after |
|---|---|---|
{rows}

All settings and what was measured on the way are in `{CARD}`.
It knows what its data know, with their errors and their bias.
"""


def _as_adapter(settings: ContrastSettings) -> str:
    name = Path(settings.output).name
    return f"""\
formula = "base + 0.7 * (trained - base)"

[models.model]
source = "{settings.model}"
engine = "torch"

[terms.base]
model = "model"
prefix = ""

[terms.trained]
model = "model"
adapter = "./{name}"
prefix = ""
"""


def _as_model(settings: ContrastSettings) -> str:
    return f"""\
formula = "trained"

[models.model]
source = "./{Path(settings.output).name}"

[terms.trained]
model = "model"
prefix = ""
"""
