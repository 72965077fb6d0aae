"""A decoder-only classifier in the shape of a language model, so that a session gives label logits for each token."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lmalgebra.models.base import Session
from lmalgebra.models.loading import session_of
from lmalgebra.models.transformers import RecomputeSession

HEADS = ("score", "classifier")
"""What Transformers calls the layer that turns the last hidden state into the labels' logits."""

AGREES = 0.05
"""How far logits in 16 bits may lie from the model's own, as a share of their size; in 32 bits a thousandth of it."""


class LabelModel(nn.Module):
    """The trunk of `classifier` with its head at every position, `[1, tokens, labels]`; behaves like a causal model of
    Transformers in what a session asks of one."""

    base_model_prefix = "trunk"

    def __init__(self, classifier: PreTrainedModel, head: nn.Module) -> None:
        super().__init__()
        self.config = classifier.config
        self.trunk, self.head = classifier.base_model, head

    @property
    def base_model(self) -> nn.Module:
        return self.trunk

    @property
    def dtype(self) -> torch.dtype:
        kind: torch.dtype = self.trunk.dtype
        return kind

    @property
    def device(self) -> torch.device:
        place: torch.device = self.trunk.device
        return place

    def set_attn_implementation(self, name: str) -> None:
        self.trunk.set_attn_implementation(name)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self, input_ids: Tensor, logits_to_keep: Tensor | slice = slice(None), **others: object
    ) -> SimpleNamespace:
        hidden = self.trunk(input_ids=input_ids, **others).last_hidden_state
        return SimpleNamespace(logits=self.head(hidden[:, logits_to_keep]))


def label_session(classifier: PreTrainedModel, source: str) -> Session | None:
    """A session over `classifier` whose logits are those of the labels, or None where a text's last token does not
    decide them or they cannot be served from a cache.

    It takes the network over: afterwards only the session can compute it. Raises ModelError as `session_of`.
    """
    head = next((getattr(classifier, name) for name in HEADS if hasattr(classifier, name)), None)
    if head is None or classifier.config.is_encoder_decoder or not _is_causal(classifier, head):
        return None
    session = session_of(LabelModel(classifier, head), source)  # type: ignore[arg-type]
    return None if isinstance(session, RecomputeSession) else session


@torch.inference_mode()
def _is_causal(classifier: PreTrainedModel, head: nn.Module) -> bool:
    """Whether the head at the last token gives the classifier's own logits, and later tokens do not change it."""
    size = int(classifier.config.get_text_config().vocab_size)
    padding = classifier.config.get_text_config().pad_token_id
    tokens = [token for token in ((7 * i + 3) % size for i in range(12)) if token != padding]
    try:
        hidden = classifier.base_model(input_ids=torch.tensor([tokens], device=classifier.device)).last_hidden_state
        at_every = head(hidden)[0].float()
        for length in (len(tokens), len(tokens) - 4):
            own = classifier(input_ids=torch.tensor([tokens[:length]], device=classifier.device)).logits[0].float()
            if own.shape != at_every[length - 1].shape or _far(classifier, own, at_every[length - 1]):
                return False
    except (ValueError, TypeError, AttributeError, RuntimeError, IndexError):
        return False
    return True


def _far(classifier: PreTrainedModel, one: Tensor, other: Tensor) -> bool:
    share = AGREES if classifier.dtype in (torch.bfloat16, torch.float16) else AGREES / 1000
    return bool((one - other).abs().max() > share * max(1.0, float(one.abs().max())))
