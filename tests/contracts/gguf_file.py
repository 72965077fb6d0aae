"""A model of Transformers as a .gguf file."""

from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from transformers import LlamaForCausalLM


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
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        weight = tensor.float().numpy()
        if (turned := heads.get(name.split(".")[-2])) is not None:  # llama.cpp turns neighbours, Transformers halves
            weight = weight.reshape(turned, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)
        kind = np.float16 if half and weight.ndim == 2 else np.float32
        writer.add_tensor(names.get_name(name, (".weight",)), np.ascontiguousarray(weight, dtype=kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
