"""What the folder of a trained adapter says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmalgebra.models.peft_folder import CONFIG
from lmalgebra.training.card import metric_table, number, with_versions, write_both


@dataclass(frozen=True)
class Learned:
    """Where an adapter was trained: the `formula`, which of its terms it is, the `base` (the sources of all models, by
    the names of their terms), by which objective, on which reward and data, and the metrics found.

    Of what was distilled `teacher` is the formula that it learned to speak like, and there is no reward.
    `controls` are the texts that stand for levels of reward, the best one last; `prefix` is what the term read before
    a prompt, None where it was told by a chat template.
    """

    formula: str
    term: str
    base: Mapping[str, str]
    objective: str
    reward: str
    data: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    prefix: str | None = ""
    teacher: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_card(folder: Path, name: str, learned: Learned) -> None:
    """Write the card and the page of what is saved in `folder`, which will be called `name`. Raises OSError."""
    card = with_versions({"kind": "adapter", **asdict(learned)})
    write_both(folder, card, _page(name, learned, is_adapter=(folder / CONFIG).is_file()))


def _page(name: str, learned: Learned, is_adapter: bool) -> str:
    base = learned.base.get(learned.term, "")
    source = base if is_adapter else name
    best = learned.controls[-1] if learned.controls else ""
    keys = [] if learned.prefix is None and not best else [f"prefix = {_quoted(best + (learned.prefix or ''))}"]
    if learned.prefix is None and best:
        keys = [f"system = {_quoted(best)}"]
    if is_adapter:
        keys.append(f"adapter = {_quoted(f'./{name}')}")
    rows = [(key, number(value)) for key, value in learned.metrics.items()]
    kind = "A LoRA adapter" if is_adapter else "A language model"
    others = "\n".join(f"- `{term}`: `{model}`" for term, model in learned.base.items() if term != learned.term)
    return f"""\
# {name}

{kind} that learned {_how(learned)}

{others or "(there are none)"}

In a voice file it is

```toml
[models.learned]
source = {_quoted(source if is_adapter else f"./{name}")}

[terms.{learned.term}]
model = "learned"
{chr(10).join(keys)}
```

{metric_table("on held-out prompts", rows) if rows else ""}

{"It raises what its reward measures, which may be less than what was meant." if learned.reward else _NEAR}
"""


_NEAR = "It is near its teacher on texts like those that it learned from, and may be far from it on others."


def _how(learned: Learned) -> str:
    """By what it became what it is, up to the list of the other terms."""
    if learned.teacher:
        return f"""as `{learned.term}` to speak like

    {learned.teacher}

by the divergence from it at each token of texts after prompts of {learned.data}. Its teacher's terms:"""
    return f"""as the term `{learned.term}` of

    {learned.formula}

by {learned.objective} on the reward {learned.reward}, from prompts of {learned.data}. The others did not change:"""


def _quoted(text: str) -> str:
    """The text as TOML writes it."""
    import tomli_w

    return tomli_w.dumps({"text": text}).strip().removeprefix("text = ")
