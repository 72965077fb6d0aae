"""`lmalgebra train adapter`: let a term of a formula learn from rewards."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.cli.console import say
from lmalgebra.cli.launched import first_speaks
from lmalgebra.cli.options import given
from lmalgebra.cli.settings_options import RUNNING, Setting, take_options
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_progress import steps_told
from lmalgebra.cli.voices import model_registry, open_voice

if TYPE_CHECKING:
    from lmalgebra.api import Models
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.training.policies.settings import AdapterSettings
    from lmalgebra.training.policies.train import Trained

_TASK, _LEARNS, _ROLLOUTS = "What is learned", "What learns", "What it says while it learns"
_OBJECTIVE, _RUNNING, _AFTER = "How it learns", RUNNING, "Evaluating in the end"


SETTINGS = (
    Setting(_TASK, "prompts", str, "FILE.jsonl", "", "File of prompts, or hub:OWNER/NAME@REVISION:SPLIT."),
    Setting(_TASK, "reward", str, "FORMULA", "", "What is rewarded, such as 'nontoxic(profanity) + 0.2 * length(20)'."),
    Setting(_TASK, "rows", str, "FIELD", "prompt", "How a row is read, by the field that it must have."),
    Setting(_TASK, "template", str, "TEXT", "none", "What is asked, Jinja over a row's fields."),
    Setting(_TASK, "count", int, "PROMPTS", "all", "Draw so many."),
    Setting(_TASK, "draw", int, "SEED", "0", "Decides which, and which are held out."),
    Setting(_TASK, "held_out", float, "SHARE", "0.1", "Prompts that are only judged."),
    Setting(_LEARNS, "voice", str, "VOICE.toml", "none", "The voice of which a term learns."),
    Setting(_LEARNS, "formula", str, "TEXT", "the voice's, or base + tilt(adapter)", "The formula that is the policy."),
    Setting(_LEARNS, "model", str, "NAME", "none", "In place of a voice: what base and adapter are, continuing texts."),
    Setting(_LEARNS, "adapter_model", str, "NAME", "the model", "What adapter is, if it is another model."),
    Setting(_LEARNS, "train", str, "TERM", "adapter", "The term that learns."),
    Setting(_LEARNS, "kind", str, "lora|model", "lora", "Low-rank changes of the term's model, or all its weights."),
    Setting(_LEARNS, "rank", int, "RANK", "8", "Of a LoRA."),
    Setting(_LEARNS, "alpha", float, "NUMBER", "16", "Its changes are multiplied by alpha / rank."),
    Setting(_LEARNS, "targets", list, "LAYERS", "all", "Ends of names of linear layers; may be given several times."),
    Setting(_LEARNS, "layers", int, "LAYERS", "0", "Of a model: a new one of so many layers; 0 keeps the old one's."),
    Setting(_LEARNS, "hidden_size", int, "NUMBERS", "0", "Of a model: a new one of so wide vectors; 0 keeps."),
    Setting(_ROLLOUTS, "prompts_per_step", int, "PROMPTS", "16", "Prompts of a step."),
    Setting(_ROLLOUTS, "samples", int, "TEXTS", "4", "Completions of each."),
    Setting(_ROLLOUTS, "max_new_tokens", int, "TOKENS", "32", "Longest completion."),
    Setting(_ROLLOUTS, "temperature", float, "NUMBER", "1", "At which they are drawn; 1 for all but quark."),
    Setting(_ROLLOUTS, "top_p", float, "PROBABILITY", "1", "Nucleus of which they are drawn; 1 for all but quark."),
    Setting(_OBJECTIVE, "objective", str, "quark|rloo|ppo|grpo", "quark", "How it learns from rewards."),
    Setting(_OBJECTIVE, "steps", int, "STEPS", "100", "Times that it says something and learns from it."),
    Setting(_OBJECTIVE, "epochs", float, "TIMES", "1", "In a step, over the pool (quark) or its completions."),
    Setting(_OBJECTIVE, "batch_size", int, "TEXTS", "8", "Completions of an update."),
    Setting(_OBJECTIVE, "pool", int, "TEXTS", "1024", "Quark's last completions that are kept; 0: all."),
    Setting(_OBJECTIVE, "controls", list, "TEXT", "Quality 1 of 5 ... 5 of 5", "Quark's, worst first; several times."),
    Setting(_OBJECTIVE, "learning_rate", float, "NUMBER", "0.0002", "AdamW's, at its height."),
    Setting(_OBJECTIVE, "warmup", float, "SHARE", "0.05", "Share of the updates in which it rises; then it falls."),
    Setting(_OBJECTIVE, "weight_decay", float, "NUMBER", "0", "AdamW's."),
    Setting(_OBJECTIVE, "max_grad_norm", float, "LENGTH", "1", "Longer gradients are shortened to it."),
    Setting(_OBJECTIVE, "beta", float, "NUMBER", "0.05", "Weight of the divergence from the reference, in nats."),
    Setting(_OBJECTIVE, "beta_target", float, "NATS", "none", "Divergence per token at which beta holds the policy."),
    Setting(_OBJECTIVE, "gamma", float, "NUMBER", "0", "Weight of entropy, in nats."),
    Setting(_OBJECTIVE, "gamma_target", float, "NATS", "none", "Entropy per token at which gamma holds the policy."),
    Setting(_OBJECTIVE, "gain", float, "NUMBER", "0.1", "How fast they follow."),
    Setting(_OBJECTIVE, "clip", float, "NUMBER", "0.2", "Bound of the ratio of ppo and grpo."),
    Setting(_RUNNING, "max_kl", float, "NATS", "5", "End beyond so many per token; 0: never."),
    Setting(_RUNNING, "max_drop", float, "DEVIATIONS", "3", "End when the reward has fallen so far; 0: never."),
    Setting(_RUNNING, "validation_steps", int, "STEPS", "0", "Judge held-out prompts so often in between; 0: never."),
    Setting(_RUNNING, "checkpoint_steps", int, "STEPS", "10", "Steps between checkpoints."),
    Setting(_RUNNING, "precision", str, "auto|float32|bfloat16", "auto", "What frozen models compute in."),
    Setting(_RUNNING, "gradient_checkpointing", bool, "", "", "Compute layers again instead of remembering them."),
    Setting(_RUNNING, "trackers", list, "NAME", "tensorboard", "wandb, trackio ... or none; several times."),
    Setting(_RUNNING, "seed", int, "NUMBER", "0", "Decides every draw."),
    Setting(_RUNNING, "device", str, "NAME", "auto", "Where to compute: auto, cpu, cuda ..."),
    Setting(_RUNNING, "output", str, "FOLDER", "", "Folder to make."),
    Setting(_AFTER, "evaluate_suite", str, "SUITE", "none", "Suite that compares it with its base; see evaluate."),
    Setting(_AFTER, "evaluate_judges", list, "JUDGE", "the suite's", "Its judges; may be given several times."),
    Setting(_AFTER, "evaluate_count", int, "PROMPTS", "200", "Held-out prompts that it takes."),
)
"""All settings, in the order of the help text."""


def adapter(config: str | None = None, resume: bool = False, **options: Any) -> None:
    """Train a term of a formula by rewards, while all others stay as they are.

    Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.policies.settings import load_settings
    from lmalgebra.training.policies.train import train_adapter

    with first_speaks() as is_first:
        settings, models = load_settings(config, given(**options)), model_registry()
        asked = _asked(settings)
        with steps_told(_numbers, _reward) as advance, stop_when_asked() as stop:
            trained = train_adapter(
                settings, models, models.scorer, resume=resume, report=say, advance=advance, stop=stop
            )
    if is_first:
        _tell(trained)
        if asked is not None:
            _evaluate(settings, asked, trained, models)


take_options(
    adapter,
    SETTINGS,
    "Or a task: toxicity, constrained, open_ended, dialogue_safety, grounded_dialogue.",
)


def _tell(trained: "Trained") -> None:
    """The base and the policy on held-out prompts, and how to use what was learned."""
    from lmalgebra.training.policies.result import VOICE

    if trained.ended:
        say(f"{trained.ended} The best parameters before are kept.", "yellow")
    base = next(each["base"] for each in trained.validation if "base" in each)
    policy = trained.validation[-1]["policy"]
    rows = [("reward", base["reward"], policy["reward"])]
    rows += [
        (name, base["rewards"][name], value) for name, value in policy["rewards"].items() if len(base["rewards"]) > 1
    ]
    rows.append(("nats per token from the base", 0.0, policy.get("kl", math.nan)))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'on held-out prompts':<{width}}  {'base':>8}  {'adapter':>8}")
    print("\n".join(f"{name:<{width}}  {before:>8.4f}  {after:>8.4f}" for name, before, after in rows))
    say(f"Wrote {trained.folder}. It speaks by: lmalgebra run {trained.folder / VOICE} --prompt TEXT")
    say(f'In a voice file of your own: adapter = "{trained.folder}" (what its term reads first stands in {VOICE}).')


def _asked(settings: "AdapterSettings") -> "EvaluationSettings | None":
    """The evaluation in the end, if there is to be one. Raises LmalgebraError now for what could not be judged then."""
    if settings.evaluate_suite == "none":
        return None
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.evaluation.suites import suite_of
    from lmalgebra.judges import judges_of
    from lmalgebra.training.policies.opening import voice_of
    from lmalgebra.training.policies.result import HELD_OUT

    suite_of(settings.evaluate_suite)
    judges_of(settings.evaluate_judges)
    chosen: dict[str, Any] = {"judges": settings.evaluate_judges} if settings.evaluate_judges else {}
    chosen |= {"suite": settings.evaluate_suite, "count": settings.evaluate_count, "template": settings.template}
    # Fluency is what the base finds likely: its weights are there, and what it would not say is what training changed.
    base = next(each for each in voice_of(settings).models if not each.is_remote)
    folder = Path(settings.output).expanduser()
    places = {"prompts": str(folder / HELD_OUT), "output": str(folder / "evaluation.json")}
    return EvaluationSettings(("base", "adapter"), fluency=base.source, **places, **chosen)


def _evaluate(settings: "AdapterSettings", asked: "EvaluationSettings", trained: "Trained", models: "Models") -> None:
    """Evaluate the base and the adapter on held-out prompts, and print both."""
    from lmalgebra.algebra import Voice, load_voice
    from lmalgebra.cli.evaluate import show_progress
    from lmalgebra.evaluation.evaluate import Evaluated
    from lmalgebra.evaluation.reports.table import tables
    from lmalgebra.evaluation.results import write_json
    from lmalgebra.evaluation.run import run
    from lmalgebra.training.policies.opening import trained_by
    from lmalgebra.training.policies.result import VOICE

    learned = trained_by(load_voice(trained.folder / VOICE), settings)
    spoken = (("base", Voice(trained.reference)), ("adapter", learned))
    evaluated = [Evaluated(name, open_voice(voice, models, asked.batch)) for name, voice in spoken]
    with show_progress() as progress:
        result = run(asked, evaluated, models, progress)
    write_json(result, Path(asked.output))
    print(tables(result))
    say(f"Wrote {asked.output}.")


def _numbers(measured: dict[str, Any]) -> str:
    """What a step measured, on one line; of several components each."""
    if measured["reward"] is None:
        return f"no reward for any of {measured['left_out']} completions"
    parts = measured["rewards"].items() if len(measured["rewards"]) > 1 else ()
    several = f" ({', '.join(f'{name} {value:.3f}' for name, value in parts)})" if parts else ""
    told = f"reward {measured['reward']:.3f}{several}, KL {measured['kl']:.3f}, entropy {measured['entropy']:.2f}"
    return told + (f", loss {measured['loss']:.3f}" if "loss" in measured else "")


def _reward(sample: dict[str, Any]) -> str:
    return f" ({sample['reward']:.3f})"
