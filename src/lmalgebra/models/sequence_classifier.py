"""A classifier of texts as Transformers saves it: a folder or hub id of an `...ForSequenceClassification`.

Texts of any length and tokenizer; those longer than the network can read keep their end. Labels, and the temperature
by which `lmalgebra train classifier` calibrates, come with the folder. In place of texts it can read pairs of them:
what was said and the answer, or a premise and what it may entail.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from lmalgebra.errors import ModelError
from lmalgebra.models import catalog, loading
from lmalgebra.models.engines import is_place
from lmalgebra.models.labels import Labels, labels_of
from lmalgebra.models.remembered import Remembered
from lmalgebra.models.store import silent
from lmalgebra.models.vocabulary import HuggingFaceTokenizer

Text = str | tuple[str, str]
"""A text, or a pair of them that is judged as one."""

CARD = "lmalgebra.json"
"""The file in which training leaves what Transformers has no place for, such as the temperature."""

PASS_TOKENS = 8192
"""Most tokens in one forward pass."""

WASTED_TOKENS = 64
"""A pass is cut where so many tokens of it would be padding: they take about as long as another pass."""

_OFFSET_TYPES = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text"}
)
"""Model types whose positions begin after that of the padding."""


class SequenceClassifier:
    """Texts to probabilities of `labels`. `source` names it in errors; logits are divided by `temperature`."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str, temperature: float = 1.0
    ) -> None:
        self.model, self.tokenizer, self.source = model.eval(), tokenizer, source
        self.temperature = temperature
        self.labels: Labels = labels_of(model.config, int(model.config.num_labels))
        self.longest = longest_text(model, tokenizer)
        self._padding = padding_token(model, tokenizer)
        self.remembered: Remembered[Text, Tensor] = Remembered(self._computed)
        if model.dtype in (torch.bfloat16, torch.float16):
            _compute_head_in_float32(model)

    def probabilities(self, texts: Sequence[Text], label: str = "") -> list[float]:
        """The probability of `label`, a name or a number, for each text. Raises ModelError for one that it lacks."""
        index = self.labels.index(label, self.source)
        logits = self.logits(texts)
        return self.labels.probabilities(logits)[:, index].tolist() if texts else []

    def logits(self, texts: Sequence[Text]) -> Tensor:
        """Calibrated logits, float32 `[texts, labels]`. Those of texts seen lately are not computed again."""
        known = self.remembered(texts)
        return torch.stack([known[text] for text in texts]) if texts else torch.empty(0, len(self.labels.names))

    @torch.inference_mode()
    def _computed(self, texts: Sequence[Text]) -> list[Tensor]:
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        tokens, segments = self._read(texts)
        for batch in batches([len(each) for each in tokens]):
            logits = self._pass([tokens[place] for place in batch], segments and [segments[place] for place in batch])
            for place, row in zip(batch, logits, strict=True):
                found[place] = row
        return found

    def tokens(self, texts: Sequence[Text]) -> list[list[int]]:
        """What the network reads of each text: control tokens spelled in it are plain characters. Never empty."""
        return self._read(texts)[0]

    def _read(self, texts: Sequence[Text]) -> tuple[list[list[int]], list[list[int]]]:
        """The tokens of each text, and of pairs which of the two each token is of, if the network asks for that."""
        if not texts:
            return [], []
        encoded = read(self.tokenizer, texts, self.longest)
        has_segments = int(getattr(self.model.config, "type_vocab_size", 0) or 0) > 1 and not isinstance(texts[0], str)
        segments = encoded.get("token_type_ids", []) if has_segments else []
        return [ids or [self.nothing] for ids in encoded["input_ids"]], segments

    @cached_property
    def as_tokenizer(self) -> HuggingFaceTokenizer:
        """Its tokenizer, to be compared with that of a language model."""
        return HuggingFaceTokenizer(self.tokenizer, frozenset(), self.source)

    @property
    def adds_only_a_start(self) -> bool:
        """Whether its tokenizer adds nothing after a text, so that a text can go on."""
        alone = self.tokenizer("a", add_special_tokens=False).input_ids
        return list(self.tokenizer("a").input_ids[-len(alone) :]) == list(alone)

    @property
    def nothing(self) -> int:
        """What is read of an empty text where the tokenizer adds nothing to it."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self._padding)
        return next(token for token in known if token is not None)

    def _pass(self, tokens: Sequence[Sequence[int]], segments: Sequence[Sequence[int]]) -> Tensor:
        longest = max(map(len, tokens))

        def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
            return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], device=self.model.device)

        inputs = {"input_ids": padded(tokens, self._padding)}
        if segments:
            inputs["token_type_ids"] = padded(segments, 0)
        if any(len(each) < longest for each in tokens):
            inputs["attention_mask"] = padded([[1] * len(each) for each in tokens], 0)
        logits: Tensor = self.model(**inputs).logits
        return (logits.float() / self.temperature).cpu()


def read(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], longest: int) -> BatchEncoding:
    """What a network reads of texts, or of pairs (all of one sort); of what is too long the beginning is left out.

    A pair is parted as the tokenizer does it; by a line break where that would put nothing in between.
    """
    alone = [each for each in texts if isinstance(each, str)]
    pairs = [each for each in texts if not isinstance(each, str)]
    if alone and pairs:
        raise ModelError("Texts and pairs of texts are given at once.", "Give the one or the other.")
    if pairs and tokenizer.num_special_tokens_to_add(pair=True) <= tokenizer.num_special_tokens_to_add(pair=False):
        alone, pairs = ["\n".join(each) for each in pairs], []
    both = ([first for first, _ in pairs], [second for _, second in pairs]) if pairs else (alone,)
    return tokenizer(*both, truncation=True, max_length=longest, split_special_tokens=True)


def pair_field(source: str) -> str:
    """The field whose text comes first in the pairs that the classifier in this folder was trained on; "" for none."""
    try:
        card = json.loads((Path(source).expanduser() / CARD).read_text(encoding="utf-8"))
        return str(card["settings"].get("pair", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def load_classifier(
    source: str,
    *,
    revision: str = "main",
    dtype: str = "auto",
    device: str = "auto",
    report: Callable[[str], None] = silent,
) -> SequenceClassifier:
    """The classifier in a folder, or behind a hub id in that `revision`; of safetensors, and no code of its own.

    Raises ModelError when there is none, or when it has no classification head.
    """
    place = torch.device(loading.choose_device(device))
    kind = loading.choose_dtype(dtype, place)
    _require_place(source)
    folder = loading.resolve(source, report)
    report(f"Loading the classifier {source} ({str(kind)[6:]} on {place.type}) ...")
    with loading.quiet():
        model, tokenizer = loading.load_parts(
            source, folder, kind, place, "AutoModelForSequenceClassification", revision
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of '{source}' has no tokenizer.json.",
            "Save it once with Transformers' AutoTokenizer(...).save_pretrained(FOLDER) and use that folder.",
        )
    tokenizer.truncation_side, tokenizer.padding_side = "left", "right"
    return SequenceClassifier(model, tokenizer, source, _temperature(Path(folder)))


def _require_place(source: str) -> None:
    """Raises ModelError for what can be no hub id, and is not there."""
    is_there = Path(source).expanduser().exists() or source in catalog.names()
    if not is_there and (is_place(source) or "/" not in source):
        raise ModelError(
            f"There is no classifier at '{source}'.",
            "Give a folder, as `lmalgebra train classifier` or save_pretrained makes it, or a hub id.",
        )


def _temperature(folder: Path) -> float:
    """What training found to calibrate by; 1 where nothing is said."""
    try:
        found = float(json.loads((folder / CARD).read_text(encoding="utf-8"))["temperature"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0
    return found if found > 0 else 1.0


def longest_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that the network can read at once."""
    config = model.config.get_text_config()
    positions = int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 0)
    if positions and config.model_type in _OFFSET_TYPES:
        positions -= int(config.pad_token_id or 0) + 1
    return min(positions or 1 << 17, int(tokenizer.model_max_length))


def padding_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills texts up; a decoder-only model must know it, since it reads the last other one."""
    config = model.config.get_text_config()
    known = (config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    config.pad_token_id = next(token for token in known if isinstance(token, int))
    return int(config.pad_token_id)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts that are read together, longest first, so that little is padding."""
    batch: list[int] = []
    wasted = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch:
            longest = lengths[batch[0]]
            wasted += longest - lengths[place]
            if wasted > WASTED_TOKENS or (len(batch) + 1) * longest > PASS_TOKENS:
                yield batch
                batch, wasted = [], 0
        batch.append(place)
    if batch:
        yield batch


class _Float32Linear(nn.Module):
    """A linear layer that computes in float32 whatever it is given: logits of eight bits would be too coarse."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.float()
        self.out_features = linear.out_features

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs.float())
        return outputs


def _compute_head_in_float32(model: PreTrainedModel) -> None:
    """Let the layers that give the labels' logits compute in float32."""
    trunk = {id(module) for module in model.base_model.modules()}
    for parent in list(model.modules()):
        if id(parent) in trunk:
            continue
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.out_features == model.config.num_labels:
                setattr(parent, name, _Float32Linear(child))
