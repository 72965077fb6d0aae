"""What is saved is a term like any other, of the same law."""

import json
import tomllib

import pytest
import torch
from safetensors.torch import load_file

import lmalgebra as la
from lmalgebra.algebra import parse
from lmalgebra.errors import ModelError, TrainingError
from lmalgebra.training.policies.card import Learned, write_card
from lmalgebra.training.policies.own_model import open_own_model
from tiny_classifiers import llama, save_language_model
from training.policies.learning import PROMPTS, SAID, disturb, letters_voice, lora, policy_of, tokens_of

FORMULA = "base + 0.8 * tilt(adapter)"
LEARNED = Learned(
    FORMULA,
    "adapter",
    {"base": "letters", "adapter": "letters"},
    "Quark",
    "length",
    "prompts.jsonl",
    {"reward": 0.5, "prompts": 1000},
    ("bad ", "good "),
)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("letters"), llama())


def trained(letters, kind):
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    if kind == "lora":
        return policy_of(voice, lora(voice, models), models)
    sizes = {"layers": 1, "hidden_size": 16} if kind == "new" else {}
    trainee = open_own_model(str(letters), device="cpu", **sizes)
    disturb(trainee, 0.02)
    return policy_of(voice, trainee, models)


@pytest.mark.parametrize("kind", ["lora", "own", "new"])
def test_a_term_of_the_folder_has_the_law_that_was_learned(letters, tmp_path, kind):
    policy, folder = trained(letters, kind), tmp_path / "learned"
    policy.trainee.save(folder)
    write_card(folder, "learned", LEARNED)
    base = letters_voice(letters, "base").terms[0]
    source = str(letters) if kind == "lora" else str(folder)
    model = la.model(source, dtype="float32", device="cpu")
    adapter = model.term(name="adapter", prefix="good ", adapter=str(folder) if kind == "lora" else None)
    voice = la.voice(parse(FORMULA, {"base": base, "adapter": adapter}), models=la.Models())
    found = [each for score in voice.score_many(list(zip(PROMPTS, SAID, strict=True))) for each in score.logprobs]
    judged = policy.judge(PROMPTS, tokens_of(policy, SAID), ["good "] * 3)
    torch.testing.assert_close(judged.chosen.detach(), torch.tensor(found), rtol=0, atol=1e-5)


def test_peft_reads_what_is_saved(letters, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    policy = trained(letters, "lora")
    policy.trainee.save(tmp_path)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(letters), tmp_path).eval()
    expected = tuned(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0]
    torch.testing.assert_close(policy.trainee.logits([[5, 6, 7, 8]], [4]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "own"])
def test_what_was_saved_is_taken_again(letters, tmp_path, kind):
    policy = trained(letters, kind)
    policy.trainee.save(tmp_path)
    before = [each.detach().clone() for each in policy.parameters()]
    disturb(policy.trainee)
    policy.trainee.restore(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(policy.parameters(), before, strict=True))


def test_a_lora_goes_on_from_one_that_is_there(letters, tmp_path):
    policy = trained(letters, "lora")
    policy.trainee.save(tmp_path)
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    other = lora(voice, models, spread=0.0, start=str(tmp_path))
    torch.testing.assert_close(other.logits([[4, 5]], [2]), policy.trainee.logits([[4, 5]], [2]))
    with pytest.raises(TrainingError, match=r"is not of this training: 'model\.layers\.0\.self_attn\.q_proj' differs"):
        lora(voice, models, rank=5).restore(tmp_path)


def test_a_fresh_lora_is_its_model(letters):
    models, voice = la.Models(), letters_voice(letters, "adapter")
    trainee = lora(voice, models, spread=0.0)
    found = policy_of(voice, trainee, models).judge(["a"], [[4, 5]])
    torch.testing.assert_close(found.policy, found.reference, rtol=0, atol=1e-5)


def test_the_layers_that_learn_may_be_named(letters, tmp_path):
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    trainee = lora(voice, models, targets=("q_proj", "v_proj"))
    trainee.save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]
    assert len(load_file(tmp_path / "adapter_model.safetensors")) == 2 * 2 * 2
    with pytest.raises(TrainingError, match=r"no linear layers called 'query'\. There are down_proj, gate_proj"):
        lora(voice, models, targets=("query",))
    with pytest.raises(TrainingError, match="rank=0 is no rank"):
        lora(voice, models, rank=0)


@pytest.mark.parametrize("kind", ["lora", "own"])
def test_the_card_says_where_it_was_trained_and_how_to_use_it(letters, tmp_path, kind):
    folder = tmp_path / "learned"
    trained(letters, kind).trainee.save(folder)
    write_card(folder, "learned", LEARNED)
    card = json.loads((folder / "lmalgebra.json").read_text())
    assert card["kind"] == "adapter"
    assert {"formula", "term", "base", "objective", "reward", "data", "metrics", "controls", "versions"} <= card.keys()
    page = (folder / "README.md").read_text()
    example = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    assert example["terms"]["adapter"]["prefix"] == "good "
    assert example["models"]["learned"]["source"] == ("letters" if kind == "lora" else "./learned")
    assert example["terms"]["adapter"].get("adapter") == ("./learned" if kind == "lora" else None)
    assert "| reward | 0.5000 |\n| prompts | 1,000 |" in page


def test_models_without_gradients_are_refused():
    model = la.model("toy")
    voice = la.voice(model.term(name="adapter", prefix=""))
    with pytest.raises(ModelError, match="Nothing can be trained through this engine, which gives no gradients"):
        lora(voice.voice, la.Models())
