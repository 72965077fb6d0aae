"""Make a smaller base of the same vocabulary: the first layers of a model and its last one, for distill.toml to mend.

python experiments/ipa_transfer/truncate.py [--model smollm2-135m] [--layers 20]
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmalgebra.models.loading import resolve

OUTPUT = Path(__file__).parent / "truncated"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a catalogue name, folder or hub id")
    parser.add_argument("--layers", type=int, default=20, help="how many stay (default: 20)")
    chosen = parser.parse_args()
    folder = resolve(chosen.model, print)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    layers = network.model.layers
    network.model.layers = torch.nn.ModuleList([*layers[: chosen.layers - 1], layers[-1]])
    network.config.num_hidden_layers = chosen.layers
    network.save_pretrained(OUTPUT)
    AutoTokenizer.from_pretrained(folder).save_pretrained(OUTPUT)
    print(f"{chosen.layers} of {len(layers)} layers to {OUTPUT}.")


if __name__ == "__main__":
    main()
