"""A model of Transformers, or an adapter for one, as a .gguf file."""

from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from transformers import LlamaConfig, LlamaForCausalLM

from lmalgebra.models.peft_folder import read_adapter


def write_llama_gguf(model: LlamaForCausalLM, file: Path, half: bool = False) -> Path:
    """Write a Llama of Transformers to `file`, its matrices in float32 or `half` of it, without a tokenizer."""
    config = model.config
    writer = GGUFWriter(file, "llama")
    writer.add_file_type(int(half))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        weight = _as_turned(name.removesuffix(".weight"), tensor.float().numpy(), config)
        kind = np.float16 if half and weight.ndim == 2 else np.float32
        writer.add_tensor(names.get_name(name, (".weight",)), weight.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_llama_lora(place: str, config: LlamaConfig, file: Path) -> Path:
    """Write an adapter that PEFT has saved for a Llama of `config` to a .gguf `file`, in float32."""
    writer = GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    changes = read_adapter(place)
    writer.add_float32("adapter.lora.alpha", max(change.scale * len(change.down) for change in changes.values()))
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for layer, change in changes.items():
        name = f"{names.get_name(layer)}.weight"
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(change.down.numpy()))
        writer.add_tensor(f"{name}.lora_b", _as_turned(layer, change.up.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _as_turned(layer: str, weight: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """The outputs of queries and keys in llama.cpp's order: it turns neighbours, and Transformers halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    if (turned := heads.get(layer.split(".")[-1])) is None:
        return np.ascontiguousarray(weight)
    swapped = weight.reshape(turned, 2, -1, weight.shape[-1]).swapaxes(1, 2)
    return np.ascontiguousarray(swapped.reshape(weight.shape))
