"""What a step of training a LoRA by rewards costs: this project's loop beside TRL's GRPOTrainer.

    python benchmarks/policy_training.py [--steps 4] [--repeats 3] [--tokens 32] [--objective grpo] [--output FILE]

Both train a LoRA of the same rank over every linear layer of the same weights but the output layer, by the same
function as the reward, on as many samples of as many prompts; both sample at temperature 1 and weigh the divergence
from the weights without the LoRA, which TRL estimates and this project sums over the vocabulary. A step is sampling,
rewards, and one update on all samples. Each side runs in a process of its own, in turn, `--repeats` times; the first
step, which compiles and warms, does not count. Time is the median step of a process; memory is the most that the
process held in the steps that count (pages of a mapped file of weights among it), and on a GPU what PyTorch held
there. TRL goes into an environment of its own.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import side_by_side
import torch
from side_by_side import clock, peak, reset_peak

import lmalgebra as la
from lmalgebra.models import catalog

INSTALL = "TRL is not installed. Install it into an environment of its own: pip install trl==1.16.0 peft datasets"
LEARNING_RATE, BETA = 2e-4, 0.04


def main() -> None:
    parser = side_by_side.options(
        __doc__, __file__, steps=4, repeats=3, prompts=4, samples=4, tokens=32, rank=8, dtype="float32", device="cpu"
    )
    parser.add_argument("--objective", choices=("grpo", "rloo"), default="grpo", help="of this project's side")
    parser.add_argument("--formula", default="adapter", help="of this project's side; TRL trains one model alone")
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps(SIDES[chosen.side](chosen)))
        return
    if importlib.util.find_spec("trl") is None:
        sys.exit(INSTALL)
    found = side_by_side.interleave({side: lambda _, side=side: _alone(side) for side in SIDES}, chosen.repeats)
    results = side_by_side.record(chosen) | _summary(found)
    for title in ("per_step", "ratios"):
        side_by_side.show(title, results[title])
    side_by_side.write(results, chosen.output)


def _alone(side: str) -> dict[str, Any]:
    """What a side measures in a process of its own, with the same options."""
    done = subprocess.run([sys.executable, *sys.argv, "--side", side], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _summary(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Rows for each side, and the ratios of the first side over the second in the same repeat."""
    quantities = [name for name, value in found["ours"][0].items() if value is not None]
    rows = [
        {"side": side, **{name: round(statistics.median(each[name] for each in told), 3) for name in quantities}}
        for side, told in found.items()
    ]
    ratios = [
        {
            "ratio": f"{name}, ours / trl",
            **side_by_side.ratio(*[[each[name] for each in found[side]] for side in SIDES]),
        }
        for name in quantities
    ]
    return {"trl": version("trl"), "per_step": rows, "ratios": ratios}


class Watch:
    """Times and memory of the steps after the first."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._times: list[float] = []
        self.tokens: list[float] = []

    def step(self) -> None:
        """A step is over."""
        if not self._times:
            reset_peak()
            if self._cuda:
                torch.cuda.reset_peak_memory_stats()
        if self._cuda:
            torch.cuda.synchronize()
        self._times.append(clock())
        self._held = peak()

    def told(self) -> dict[str, float | None]:
        """Seconds and megabytes (10^6 bytes) of a step, and tokens of a completion."""
        steps = [after - before for before, after in zip(self._times, self._times[1:], strict=False)]
        on_gpu = torch.cuda.max_memory_allocated() / 1e6 if self._cuda else None
        tokens = statistics.mean(self.tokens)
        return {"seconds": statistics.median(steps), "megabytes": self._held, "gpu_megabytes": on_gpu, "tokens": tokens}


def share_of_e(texts: Sequence[str]) -> list[float]:
    """The reward: how much of each text is the letter e."""
    return [text.count("e") / max(1, len(text)) for text in texts]


class Reward:
    """The same for this project."""

    name = "letters"

    def about(self) -> dict[str, Any]:
        return {"kind": "share of the letter e"}

    def __call__(self, said: Sequence[Any]) -> list[float]:
        return share_of_e([each.text for each in said])


def ours(chosen: argparse.Namespace) -> dict[str, float | None]:
    """This project's side."""
    from lmalgebra.training.policies.settings import AdapterSettings
    from lmalgebra.training.policies.train import train_adapter

    watch, models = Watch(chosen.device), la.Models()

    def advance(measured: dict[str, Any], steps: int) -> None:
        watch.tokens.append(measured["tokens"])
        watch.step()

    with TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        lines = [json.dumps({"prompt": each}) + "\n" for each in side_by_side.prompts(chosen.prompts + 1)]
        prompts.write_text("".join(lines))  # one of them is held out
        settings = AdapterSettings(
            model=side_by_side.WEIGHTS,
            formula=chosen.formula,
            prompts=str(prompts),
            held_out=1 / len(lines),
            reward="letters",
            objective=chosen.objective,
            output=str(Path(folder) / "out"),
            checkpoint_steps=1 << 20,
            trackers=("none",),
            max_kl=0.0,
            max_drop=0.0,
            precision=chosen.dtype,
            device=chosen.device,
            batch_size=chosen.prompts * chosen.samples,
            **shared(chosen),
        )
        train_adapter(settings, models, models.scorer, rewards={"letters": Reward()}, advance=advance)
    return watch.told()


def shared(chosen: argparse.Namespace) -> dict[str, Any]:
    """What both sides are told."""
    return {
        "rank": chosen.rank,
        "alpha": 2.0 * chosen.rank,
        "steps": chosen.steps + 1,
        "prompts_per_step": chosen.prompts,
        "samples": chosen.samples,
        "max_new_tokens": chosen.tokens,
        "learning_rate": LEARNING_RATE,
        "beta": BETA,
    }


def trl(chosen: argparse.Namespace) -> dict[str, float | None]:
    """TRL's side."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    watch, folder, told = Watch(chosen.device), catalog.path(side_by_side.WEIGHTS), shared(chosen)

    class Steps(TrainerCallback):
        def on_step_end(self, *given: Any, **others: Any) -> None:
            watch.step()

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **others: Any) -> None:
            if "completions/mean_length" in logs:
                watch.tokens.append(logs["completions/mean_length"])

    with TemporaryDirectory() as output:
        config = GRPOConfig(
            output_dir=output,
            per_device_train_batch_size=told["prompts_per_step"] * told["samples"],
            num_generations=told["samples"],
            max_steps=told["steps"],
            max_completion_length=told["max_new_tokens"],
            learning_rate=told["learning_rate"],
            beta=told["beta"],
            loss_type="grpo",
            gradient_checkpointing=False,
            use_cpu=chosen.device == "cpu",
            bf16=False,
            model_init_kwargs={"dtype": chosen.dtype},
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to="none",
        )
        data = Dataset.from_list([{"prompt": each} for each in side_by_side.prompts(chosen.prompts)])
        trainer = GRPOTrainer(
            str(folder),
            reward_funcs=_of_completions(),
            args=config,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
            peft_config=LoraConfig(r=told["rank"], lora_alpha=told["alpha"], target_modules="all-linear"),
            callbacks=[Steps()],
        )
        trainer.train()
    return watch.told()


def _of_completions() -> Callable[..., list[float]]:
    def letters(completions: list[str], **others: Any) -> list[float]:
        return share_of_e(completions)

    return letters


SIDES: dict[str, Callable[[argparse.Namespace], dict[str, float | None]]] = {"ours": ours, "trl": trl}


if __name__ == "__main__":
    main()
