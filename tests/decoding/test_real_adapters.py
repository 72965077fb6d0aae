"""A real model under a random adapter, in float32: what we say is what Transformers and PEFT say."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from prompts import PROMPTS
from transformers import AutoModelForCausalLM, AutoTokenizer

import lmalgebra as la

NEW_TOKENS = 24


@pytest.fixture(scope="module")
def adapter(smollm2, tmp_path_factory) -> str:
    """A folder with an adapter that changes what is said, but does not garble it."""
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01, generator=draw)
    folder = tmp_path_factory.mktemp("adapter")
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return str(folder)


@pytest.fixture(scope="module")
def theirs(smollm2, adapter) -> PeftModel:
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    return PeftModel.from_pretrained(model, adapter).eval()


@pytest.fixture(scope="module")
def terms(smollm2, adapter) -> dict[str, la.algebra.Term]:
    model = la.model(str(smollm2), dtype="float32")
    return {"base": model.term(name="base"), "formal": model.term(name="formal", adapter=adapter)}


@pytest.fixture(scope="module")
def models() -> la.Models:
    return la.Models()


def context(smollm2, prompt) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    chat = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")["input_ids"]


@pytest.mark.slow
def test_greedy_text_under_an_adapter_is_that_of_peft(terms, models, theirs, smollm2):
    voice = la.voice(terms["formal"], models=models, temperature=0, max_new_tokens=NEW_TOKENS)
    plain = la.voice(terms["base"], models=models, temperature=0, max_new_tokens=NEW_TOKENS)
    changed = 0
    for sample in voice.generate_many(PROMPTS[:4]):
        told = context(smollm2, PROMPTS[sample.index])
        said = theirs.generate(input_ids=told, do_sample=False, max_new_tokens=NEW_TOKENS)[0, told.shape[1] :]
        assert sample.tokens == tuple(said.tolist())
        changed += sample.text != plain.generate(PROMPTS[sample.index]).text
    assert changed


@pytest.mark.slow
def test_a_formula_of_base_and_adapter_is_that_of_two_models(terms, models, theirs, smollm2):
    formula = terms["base"] + 0.5 * (terms["formal"] - terms["base"])
    said = {
        la.voice(formula, models=models, speculate=speculate, temperature=0, max_new_tokens=NEW_TOKENS)
        .generate(PROMPTS[0])
        .samples[0]
        .tokens
        for speculate in ("off", "base:4")
    }
    (tokens,) = said
    told = context(smollm2, PROMPTS[0])
    for token in tokens:
        with torch.inference_mode():
            formal = theirs(told).logits[0, -1].log_softmax(-1)
            with theirs.disable_adapter():
                base = theirs(told).logits[0, -1].log_softmax(-1)
        assert token == int((0.5 * base + 0.5 * formal).argmax())
        told = torch.cat([told, torch.tensor([[token]])], dim=1)
