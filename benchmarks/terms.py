"""What a classifier in a formula costs: `base + 2 * classifier` over `base`, with 50 candidates a step.

    python benchmarks/terms.py [--encoder FOLDER] [--causal-layers 6] [--repeats 5] [--tokens 16] [--clock wall] ...

Everything compared runs in turn within each repeat, in one process, as side_by_side.py says; ratios are medians of the
repeats' ratios. Nothing is remembered from one run to the next.

- encoder: a sequence classifier of MiniLM's size (6 layers of 384), which reads 50 texts for a token: one text a call;
  all together; and all together with what was known of a text remembered, which is how it is used. `--encoder` is a
  folder of such a classifier; without it one of random weights is made, with the tokens of the language model. Weights
  do not change the cost, which is what is measured.
- causal: the first layers of the language model with a head of random weights, which reads tokens; alone, and while the
  base drafts four tokens at a time.

`--clock processor` takes the processor time of a single thread, for a machine on which other things run.

Times are of texts of so many tokens after a short prompt that the classifier does not read. An encoder's time grows
with its text, a causal classifier's hardly.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import side_by_side
import torch
import transformers
from side_by_side import Run, speak
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertConfig

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models import catalog, sequence_classifier
from lmalgebra.models.scorers import Scorers

BATCHES = (1, 8)
LABEL = "LABEL_1"
WEIGHT = 2


def main() -> None:
    options = side_by_side.options(
        __doc__, __file__, encoder="", causal_layers=6, repeats=5, tokens=16, dtype="bfloat16", clock="wall"
    ).parse_args()
    if options.clock == "processor":
        torch.set_num_threads(1)
        side_by_side.clock = time.process_time
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        runs = list(_runs(options, Path(folder)))
        times, _ = side_by_side.measure(runs, options.tokens, options.repeats)
    pairs = [(name, "base") for name in dict.fromkeys(run.name for run in runs) if name != "base"]
    pairs = [(batch, pair) for batch in BATCHES for pair in pairs if (pair[0], batch) in times]
    options.encoder = Path(options.encoder).name  # not where it lies on this machine
    results = side_by_side.record(options) | {
        "per_token": side_by_side.per_token(times),
        "ratios": [row for batch, pair in pairs for row in side_by_side.ratios(times, [pair], [batch])],
    }
    side_by_side.show("Time per token", results["per_token"])
    side_by_side.show("Ratios of times per token", results["ratios"])
    side_by_side.write(results, options.output)


def _runs(options: argparse.Namespace, folder: Path) -> list[Run]:
    (base,) = side_by_side.terms(la.model(side_by_side.WEIGHTS, dtype=options.dtype), "base")
    encoder = options.encoder or str(_encoder(folder / "encoder"))
    causal = str(_causal(folder / "causal", options.causal_layers))
    scorers, models = Scorers(), la.Models()
    made = {}
    for name, source, speculate in (("encoder", encoder, None), ("causal", causal, None), ("drafts", causal, "base:4")):
        voice = la.voice(base + WEIGHT * la.classifier(source, LABEL, name=name), models=models).voice
        made[name] = ComposedVoice(voice, models, speculate=speculate, open_scorer=scorers)
        made[name].generate("a", max_new_tokens=1)
    judge = scorers.classifiers.of_source(encoder)
    plain = la.voice(base, models=models)

    def alone(batch: int) -> Callable[[int], None]:
        return lambda tokens: speak(plain, batch, tokens)

    def read(voice: ComposedVoice, batch: int, most: int, remembered: int) -> Callable[[int], None]:
        def act(tokens: int) -> None:
            sequence_classifier.PASS_TOKENS, judge.remembered.most = most, remembered
            judge.remembered.clear()
            speak(voice, batch, tokens)

        return act

    together, all_of_them = sequence_classifier.PASS_TOKENS, judge.remembered.most
    runs = [Run("encoder, one text a call", 1, read(made["encoder"], 1, 1, 0))]
    for batch in BATCHES:
        runs += [
            Run("base", batch, alone(batch)),
            Run("encoder, batched", batch, read(made["encoder"], batch, together, 0)),
            Run("encoder, batched and remembered", batch, read(made["encoder"], batch, together, all_of_them)),
            Run("causal", batch, lambda tokens, batch=batch: speak(made["causal"], batch, tokens)),
            Run("causal, drafts base:4", batch, lambda tokens, batch=batch: speak(made["drafts"], batch, tokens)),
        ]
    return runs


def _encoder(folder: Path) -> Path:
    """A random classifier of MiniLM's size over the language model's tokens."""
    tokenizer = AutoTokenizer.from_pretrained(catalog.path(side_by_side.WEIGHTS))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        num_labels=2,
    )
    return _save(AutoModelForSequenceClassification.from_config(config), tokenizer, folder)


def _causal(folder: Path, layers: int) -> Path:
    """The language model's first layers with a random head."""
    source = catalog.path(side_by_side.WEIGHTS)
    config = AutoConfig.from_pretrained(source)
    config.num_hidden_layers, config.num_labels = layers, 2
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_pretrained(source, config=config)
    return _save(network, AutoTokenizer.from_pretrained(source), folder)


def _save(network: torch.nn.Module, tokenizer: object, folder: Path) -> Path:
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
