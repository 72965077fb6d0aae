"""A formula as a policy that learns: its log-probabilities, with a gradient into one of its terms alone.

Source: inference-time policy adapters (Lu et al., EMNLP 2023, arXiv 2305.15065), section 2.1: the tailored policy is
p_base times p_adapter to some power, normalised, which is the formula `base + alpha * tilt(adapter)`; only the adapter
has a gradient. Here any term of any formula may be the one.

Judging takes these steps: 1. the term that learns reads each text, with gradient; 2. the decoder's own reading gives
the scores of all other terms, without; 3. the decoder's own interpreter combines them. So what is judged is what is
sampled, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from lmalgebra.algebra import Formula, Model, ModelTerm, Term, Voice, partial, replaced
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.composed import Prompt
from lmalgebra.decoding.context import context_tokens, conversation
from lmalgebra.decoding.loaded import LoadedFormula, OpenScorer
from lmalgebra.decoding.reading import Given, read_texts
from lmalgebra.errors import TrainingError, VocabularyError
from lmalgebra.models.base import LanguageModel, vocabulary_difference
from lmalgebra.training.policies.controls import controlled, learning_term
from lmalgebra.training.policies.plain_text import plain_text, require_plain
from lmalgebra.training.policies.trainee import Trainee

OpenModel = Callable[[Model], LanguageModel]
"""Turns a model's description into weights, the same ones for the same description."""


@dataclass(frozen=True)
class Judged:
    """What a policy says of completions, whose tokens are packed one after another.

    `policy` are the formula's log-probabilities (nats, at least float32), `[tokens, vocabulary]`, with gradient into
    the term that learns; `reference` those of the reference, without. `tokens` are the ids, `[tokens]`, and `owner`
    says to which completion each belongs, `[tokens]`.
    """

    policy: Tensor
    reference: Tensor
    tokens: Tensor
    owner: Tensor

    @property
    def chosen(self) -> Tensor:
        """The policy's log-probability of each token, `[tokens]`."""
        return self.policy.gather(1, self.tokens[:, None]).squeeze(1)


class FormulaPolicyConfig(PreTrainedConfig):
    """What Transformers wants to know of a formula."""

    model_type = "lmalgebra_formula"


class FormulaPolicy(PreTrainedModel, GenerationMixin):
    """The formula of `voice` with `trainee` for the term `learning`; its parameters are the trainee's alone.

    `open_model` gives the weights of the other terms and `open_scorer` makes classifiers and constraints, as for a
    ComposedVoice. `reference` is the formula that the policy is compared with. By default it is the policy's own
    without the term that learns, or where that has no distribution, with that term as it was before it learned.

    Raises TrainingError for a term that cannot learn and where there is nothing to compare with, VocabularyError where
    the trainee has another vocabulary than the formula, and what opening models raises.
    """

    config_class = FormulaPolicyConfig
    supports_gradient_checkpointing = True

    def __init__(
        self,
        voice: Voice,
        learning: str,
        trainee: Trainee,
        open_model: OpenModel,
        open_scorer: OpenScorer | None = None,
        *,
        reference: Formula | None = None,
    ) -> None:
        term = learning_term(voice.formula, learning)
        assert isinstance(term.description, ModelTerm)
        self._open_model, self._open_scorer = open_model, open_scorer
        self.described = voice
        self._spoken = Term(term.name, trainee.spoken(term.description))
        self._trainee_model, self._trainee_weights = trainee.language_model, trainee.model.weights
        self._formula = replaced(voice.formula, {term: self._spoken})
        self._voices: dict[str, ComposedVoice] = {}
        loaded = self._composed(self._formula).loaded
        super().__init__(FormulaPolicyConfig(vocab_size=loaded.vocabulary_size))
        self.trainee = trainee
        self._loaded = loaded
        self._reference_formula = reference or self._default_reference(term)
        self._reference = self._composed(self._reference_formula)
        self._require_one_vocabulary()

    def _require_one_vocabulary(self) -> None:
        mine, its = self._loaded.tokenizer, self._reference.loaded.tokenizer
        if difference := vocabulary_difference(mine, its):
            raise VocabularyError(
                f"`{self._formula}` and `{self._reference_formula}` have different vocabularies: {difference}.",
                "Use models of one family, whose token ids mean the same.",
            )

    def _composed(self, formula: Formula) -> ComposedVoice:
        voice = Voice(formula, self.described.settings)
        return ComposedVoice(voice, self._opened, open_scorer=self._open_scorer)

    def _opened(self, model: Model) -> LanguageModel:
        return self._trainee_model if model.weights == self._trainee_weights else self._open_model(model)

    def _default_reference(self, term: Term) -> Formula:
        plan = self._loaded.plan
        rest = partial(plan.simplified, [leaf for leaf in plan.leaves if leaf != self._spoken])
        if rest is not None:
            return rest
        assert isinstance(term.description, ModelTerm)
        before = self.trainee.untrained(term.description)
        if before is None:
            raise TrainingError(
                f"`{self.described.formula}` has no distribution without `{term.name}`, which is new, so there is "
                "nothing to compare with.",
                "Give a reference, a formula of its own.",
            )
        return replaced(self._formula, {self._spoken: Term(term.name, before)})

    @property
    def reference(self) -> Formula:
        """The formula that the policy is compared with."""
        return self._reference_formula

    @property
    def reference_voice(self) -> ComposedVoice:
        """The reference as the engine speaks it."""
        return self._reference

    @property
    def tokenizer(self) -> Any:
        """That of the formula's models."""
        return self._loaded.tokenizer

    def voice(self, control: str = "") -> ComposedVoice:
        """The policy as the engine speaks it now, with `control` before what the term that learns reads.

        Raises ModelError while it still speaks as it was before.
        """
        self.trainee.renew()
        if control not in self._voices:
            term = self._under(control)
            self._voices[control] = self._composed(replaced(self._formula, {self._spoken: term}))
        return self._voices[control]

    def _under(self, control: str) -> Term:
        return controlled(self._spoken, control, self._trainee_model.tokenizer)

    def judge(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]], controls: Sequence[str] | None = None
    ) -> Judged:
        """What the policy and the reference say of `completions`, token ids, each after its prompt.

        `controls` are texts that the term that learns reads before each, "" for none. Raises PromptError for what is
        too long, DecodingError where no token is possible, and TrainingError where the numbers of texts differ.
        """
        if len(prompts) != len(completions) or (controls is not None and len(controls) != len(prompts)):
            raise TrainingError(
                f"There are {len(prompts)} prompts and {len(completions)} completions.", "Give one of each for another."
            )
        texts = []
        for prompt, tokens, control in zip(prompts, completions, controls or [""] * len(prompts), strict=True):
            messages = conversation(prompt)
            contexts = self._loaded.contexts(messages)
            contexts[self._spoken] = context_tokens(self._under(control), self._trainee_model, messages)
            texts.append(Given(messages, contexts, tuple(tokens)))
        return self._judge(texts)

    def _judge(self, texts: Sequence[Given]) -> Judged:
        scores, positions, tokens, owner = self._scores(texts)
        policy = self._loaded.plan.logprobs(scores, positions)
        with torch.no_grad():
            reference = self._reference_logprobs(texts, scores, positions)
        device = policy.device
        missing = policy.shape[-1] - reference.shape[-1]  # models of one vocabulary may pad it to other sizes
        reference = torch.nn.functional.pad(reference, (0, missing), value=-torch.inf)
        return Judged(policy, reference, torch.tensor(tokens, device=device), torch.tensor(owner, device=device))

    def _scores(self, texts: Sequence[Given]) -> tuple[dict[Formula, Tensor], list[int], list[int], list[int]]:
        """The scores of all terms at each token of `texts`, their positions, the tokens, and whose they are."""
        owners = [place for place, text in enumerate(texts) if text.tokens]
        if not owners:
            raise TrainingError("The completions have no tokens.", "Give some that have.")
        said = [texts[place] for place in owners]
        whole = [[*text.contexts[self._spoken], *text.tokens[:-1]] for text in said]
        lengths = [len(text.tokens) for text in said]
        learned = self.trainee.logits(whole, lengths)[:, : self._loaded.vocabulary_size]
        parts = learned.detach().split(lengths)
        known = [text._replace(known={self._spoken: part}) for text, part in zip(said, parts, strict=True)]
        scores = _read(self._loaded, known, self.described.settings.max_new_tokens)
        scores[self._spoken] = learned.to(self._loaded.device)
        positions = [position for length in lengths for position in range(length)]
        tokens = [token for text in said for token in text.tokens]
        owner = [place for place, length in zip(owners, lengths, strict=True) for _ in range(length)]
        return scores, positions, tokens, owner

    def _reference_logprobs(
        self, texts: Sequence[Given], scores: Mapping[Formula, Tensor], positions: Sequence[int]
    ) -> Tensor:
        """From scores that are there already, or else by reading; what a classifier scores depends on the formula."""
        plan = self._reference.plan
        if not plan.classifiers and not plan.evidences and all(part in scores for part in (*plan.leaves, *plan.rules)):
            return plan.logprobs({part: each.detach() for part, each in scores.items()}, positions)
        loaded = self._reference.loaded
        own = [Given(text.messages, loaded.contexts(text.messages), text.tokens) for text in texts if text.tokens]
        found = _read(loaded, own, self.described.settings.max_new_tokens)
        return plan.logprobs(found, positions)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **others: Any,
    ) -> CausalLMOutput:
        """What is likely after each token of `input_ids`, `[texts, length]`, as a model of Transformers says it: the
        logits are log-probabilities, `[texts, length, vocabulary]`, 0 where `attention_mask` is.

        A text may be padded on either side. Each term reads its own prefix before it. `labels` give a loss as usual.
        `logits_to_keep` and what Transformers says of caches change nothing. Raises TrainingError for a formula that
        needs to know where a prompt ends, and for terms that are told a prompt otherwise than by a prefix.
        """
        del logits_to_keep, others
        require_plain(self._loaded)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        texts = [
            plain_text(self._loaded, ids[shown].tolist()) for ids, shown in zip(input_ids, mask.bool(), strict=True)
        ]
        scores, positions, _, _ = self._scores(texts)
        found = self._loaded.plan.logprobs(scores, positions)
        logits = found.new_zeros(*input_ids.shape, found.shape[-1])
        logits = logits.masked_scatter(mask.bool()[..., None].to(found.device), found)
        loss = None
        if labels is not None:
            targets = labels[:, 1:].masked_fill(mask[:, :-1] == 0, -100)  # nothing stands before a text's first token
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> dict[str, Any]:
        """For Transformers' `generate`, which has no cache here."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any = None, **others: Any) -> None:
        """Compute the layers of the term that learns again for the gradient; how is not Transformers' to choose."""
        self.trainee.checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Remember them."""
        self.trainee.checkpointing = False

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> None:
        """What is learned, as the trainee saves it."""
        self.trainee.save(Path(save_directory))

    def close(self) -> None:
        """Let the engine forget what is learned."""
        self.trainee.close()


@torch.no_grad()
def _read(loaded: LoadedFormula, texts: Sequence[Given], max_new_tokens: int) -> dict[Formula, Tensor]:
    """The scores of a formula's leaves at all tokens of `texts`, one text after another, `[tokens, vocabulary]`."""
    found: list[dict[Formula, list[Tensor]]] = [{} for _ in texts]
    with closing(read_texts(loaded, texts, max_new_tokens)) as blocks:
        for place, block in blocks:
            for part, scores in block.scores.items():
                found[place].setdefault(part, []).append(scores.clone())  # what the session gives may not be kept
    return {part: torch.cat([each for text in found for each in text[part]]) for part in found[0]}
