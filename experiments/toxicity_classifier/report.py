"""What trained classifiers are worth: their held-out metrics as JSON, and how well they are calibrated as a figure.

    python experiments/toxicity_classifier/report.py FOLDER [FOLDER ...]

Reads the `lmalgebra.json` of each folder; writes `results.json` and `calibration.png` beside this script. Needs the
extra `plots`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLACES = ("data", "model", "output")
"""Settings that say where things lie on one machine; of these the last part is told."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    cards = {folder.name: told(folder) for folder in parser.parse_args().folders}
    (HERE / "results.json").write_text(json.dumps(cards, indent=2) + "\n")
    draw(cards, HERE / "calibration.png")
    for name, card in cards.items():
        print(name, json.dumps(card["metrics"]))


def told(folder: Path) -> dict[str, Any]:
    """A folder's card without the paths of this machine."""
    card: dict[str, Any] = json.loads((folder / "lmalgebra.json").read_text())
    card["settings"] |= {key: _last(card["settings"][key]) for key in PLACES}
    return card


def _last(place: str | list[str]) -> str | list[str]:
    return Path(place).name if isinstance(place, str) else [Path(each).name for each in place]


def draw(cards: dict[str, dict[str, Any]], file: Path) -> None:
    """The mean score of held-out texts against the mean probability that each bin of them got."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(cards), figsize=(4 * len(cards), 3.6), squeeze=False, sharey=True)
    for panel, (name, card) in zip(panels[0], cards.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for when, marker in (("before", "o"), ("after", "s")):
            bins = card["calibration"][when]
            label = f"{when} scaling"
            panel.plot(
                [each["confidence"] for each in bins], [each["outcome"] for each in bins], marker, ms=4, label=label
            )
        panel.set(title=name, xlabel="probability", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    panels[0][0].set_ylabel("score")
    panels[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
