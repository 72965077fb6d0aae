"""How near `hold` brings what a classifier says of texts to its target, beside fixed weights.

    python experiments/hold/run.py --classifier FOLDER [--formulas hold fixed ...] [--output FILE]
    python experiments/hold/run.py --show [--output FILE]

FOLDER is the classifier of sentiment.toml. VADER, a lexicon, judges the same texts (`pip install vaderSentiment`), and
the base model says how likely they are. Formulas that are not asked for keep what FILE says of them. Writes FILE and
beside it `levels.png`, and prints a table; `--show` does the last two again. Needs the extra `plots`. About a quarter
of an hour on one core.
"""

import argparse
import json
import math
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lmalgebra as la
from lmalgebra.decoding import Sample

HERE = Path(__file__).parent
READ = "gloomy + follow(glad - gloomy, positive)"
"""A formula whose weights are the levels: what the classifier says of each text so far."""
SETTINGS = ("seed", "samples", "max_new_tokens", "min_new_tokens", "temperature")
QUARTILES = ("quarter", "half", "three_quarters")


def main() -> None:
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    parser.add_argument("--formulas", nargs="+", choices=[*config["formulas"]], default=[*config["formulas"]])
    parser.add_argument("--show", action="store_true", help="only draw and print what FILE says")
    chosen = parser.parse_args()
    if not chosen.show:
        found: dict[str, Any] = json.loads(chosen.output.read_text(encoding="utf-8")) if chosen.output.exists() else {}
        experiment = Experiment(config, chosen.classifier)
        for name in chosen.formulas:
            found[name] = {"lmalgebra": la.__version__, "formula": config["formulas"][name]["text"], "values": []}
            for measures in experiment.run(name):
                found[name]["values"].append(measures)
                chosen.output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    found = json.loads(chosen.output.read_text(encoding="utf-8"))
    if "hold" in found:
        draw(found, chosen.output.with_name("levels.png"))
    print("\n".join(table(found)))


class Experiment:
    """The formulas of a configuration, each with its values."""

    def __init__(self, config: dict[str, Any], classifier: str) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self.config = config
        model = la.model(config["model"])
        self.terms = {name: model.term(name=name, system=system) for name, system in config["terms"].items()}
        self.terms["positive"] = la.classifier(classifier, "positive", name="positive")
        self.base, self.reader = la.voice(self.terms["base"]), self.voice(READ)
        self.judge = SentimentIntensityAnalyzer()

    def voice(self, formula: str) -> la.ComposedVoice:
        settings = {key: self.config[key] for key in SETTINGS}
        return la.voice(la.parse(formula, self.terms), **settings)

    def run(self, name: str) -> Iterator[dict[str, Any]]:
        """The measures of a formula's values, each as soon as it is there."""
        formula = self.config["formulas"][name]
        for value in formula["values"]:
            started = time.perf_counter()
            target = value if "target" in formula["text"] else None
            measures = self.measured(self.voice(formula["text"].format(value)), target)
            shown = {key: measures[key] for key in ("level", "error", "vader", "perplexity", "weight")}
            print(name, value, json.dumps(shown), f"{time.perf_counter() - started:.0f} s", flush=True)
            yield {"value": value} | measures

    def measured(self, voice: la.ComposedVoice, target: float | None) -> dict[str, Any]:
        """What the texts of a voice are like; `error` is the distance of their last levels from `target`, if any."""
        samples = list(voice.generate_many(self.config["prompts"]))
        samples.sort(key=lambda sample: (sample.index, sample.number))
        levels = weights(self.reader, samples)
        courses = weights(voice, samples) if voice.loaded.steerings else []
        last = np.array([each[-1] for each in levels])
        nats = np.array([-np.mean(self.base.score(sample.prompt, sample.text).logprobs) for sample in samples])
        feelings = np.array([self.judge.polarity_scores(sample.text)["compound"] for sample in samples])
        return {
            "texts": len(samples),
            "level": self.mean(last),
            "spread": rounded(last.std(ddof=1)),
            "error": [] if target is None else self.mean(abs(last - target)),
            "vader": self.mean(feelings),
            "perplexity": [rounded(math.exp(each)) for each in self.mean(nats)],
            "weight": summary([each[-1] for each in courses]),
            "levels": means(levels),
            "weights": means(courses),
            "example": samples[0].text,
        }

    @staticmethod
    def mean(values: np.ndarray) -> list[float]:
        """The mean and its 95 % interval, by 2,000 draws of as many texts."""
        drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
        return [rounded(each) for each in (values.mean(), *np.quantile(drawn, [0.025, 0.975]))]


def weights(voice: la.ComposedVoice, samples: list[Sample]) -> list[list[float]]:
    """The weights that a voice gives its steered part after each token of the texts, from none on."""
    [steering] = voice.loaded.steerings.values()
    texts = [tuple(token for token in sample.tokens if token not in voice.loaded.ends) for sample in samples]
    courses = [steering.begin(sample.prompt) for sample in samples]
    steering.weights([(course, text, 0) for course, text in zip(courses, texts, strict=True)])
    for course in courses:
        steering.end(course)
    return [course.weights for course in courses]


def summary(values: list[float]) -> dict[str, float]:
    """Quartiles of weights and the shares at the ends of the range of `hold`."""
    if not values:
        return {}
    named = dict(zip(QUARTILES, np.quantile(values, [0.25, 0.5, 0.75]), strict=True))
    named |= {"at_least": np.mean(np.array(values) <= -2), "at_most": np.mean(np.array(values) >= 2)}
    return {name: rounded(value) for name, value in named.items()}


def means(courses: list[list[float]]) -> list[float]:
    """The mean at each position over the texts that reach it, as long as half of them do."""
    lengths = sorted(map(len, courses))
    positions = range(lengths[len(lengths) // 2] if lengths else 0)
    return [rounded(np.mean([each[at] for each in courses if len(each) > at])) for at in positions]


def rounded(value: float) -> float:
    return round(float(value), 3)


def table(found: dict[str, Any]) -> Iterator[str]:
    """The measures as a table of Markdown, one line for each value of each formula."""
    yield "| | level at the end | spread | distance | VADER | perplexity | last weight, quartiles | at -2 | at 2 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, formula in found.items():
        for each in formula["values"]:
            level, error, feeling = (
                "{:.2f} ({:.2f} to {:.2f})".format(*each[key]) if each[key] else ""
                for key in ("level", "error", "vader")
            )
            weight = each["weight"]
            quartiles = ", ".join(f"{weight[key]:.2f}" for key in QUARTILES) if weight else ""
            ends = " | ".join(f"{weight[key]:.0%}" if weight else "" for key in ("at_least", "at_most"))
            cells = (
                f"{name} {each['value']:g}",
                level,
                f"{each['spread']:.2f}",
                error,
                feeling,
            )
            yield f"| {' | '.join(cells)} | {each['perplexity'][0]:.0f} | {quartiles} | {ends} |"


def draw(found: dict[str, Any], file: Path) -> None:
    """Left: the mean of the last levels against targets, and dotted those of fixed weights; right: at each position."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.6, 3.7), width_ratios=(1, 1.5))
    left.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    for name, label, marker in (("hold", "gain=0.1", "o"), ("hold_faster", "gain=0.3", "s")):
        targets = [each["value"] for each in found[name]["values"]]
        middle, low, high = np.array([each["level"] for each in found[name]["values"]]).T
        left.errorbar(targets, middle, [middle - low, high - middle], fmt=marker, ms=4, capsize=2, label=label)
    for each in found["fixed"]["values"]:
        left.axhline(each["level"][0], color="0.5", linewidth=0.8, linestyle=":")
    left.legend(frameon=False, loc="upper left")
    left.set(xlabel="target", ylabel="level at the end, mean", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    for each in found["hold"]["values"]:
        [line] = right.plot(each["levels"][1:], label=f"{each['value']:g}")
        right.axhline(each["value"], color=line.get_color(), linewidth=0.8, linestyle=":")
    right.set(xlabel="tokens", ylabel="level, mean", ylim=(0, 1))
    right.legend(title="target", frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
