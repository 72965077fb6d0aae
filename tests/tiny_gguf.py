"""A random Llama of 30,000 parameters as a .gguf file, written in milliseconds, and a real file in 16 bits."""

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize
from transformers.convert_slow_tokenizer import bytes_to_unicode

SIZE, HIDDEN, LAYERS, HEADS, KEY_HEADS = 32, 64, 2, 4, 2
VOCABULARY = ["<|end|>", "<|start|>", "<|turn|>", *bytes_to_unicode().values(), "he", "Ġ1", "12"]


def write_tiny_gguf(
    file: Path,
    *,
    architecture: str = "llama",
    pre: str = "smollm",
    leave_out: str = "",
    chat: bool = True,
    causal: bool = True,
) -> Path:
    """Write the model to `file`; `leave_out` names a tensor that the file is to lack, `chat` adds a chat template, and
    one that is not `causal` is for embeddings."""
    writer = GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(VOCABULARY))
    if not causal:
        writer.add_causal_attention(False)
    _add_tokenizer(writer, pre)
    if chat:
        writer.add_chat_template("{% for m in messages %}<|start|>{{ m['content'] }}{% endfor %}")
    for name, tensor in tiny_tensors().items():
        if name != leave_out:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def tiny_tensors() -> dict[str, np.ndarray]:
    """The tensors under llama.cpp's names, the same at every call."""
    shapes = {"token_embd": (len(VOCABULARY), SIZE), "output_norm": (SIZE,)}
    small = SIZE * KEY_HEADS // HEADS
    for layer in range(LAYERS):
        block = {"attn_norm": (SIZE,), "ffn_norm": (SIZE,), "attn_q": (SIZE, SIZE), "attn_output": (SIZE, SIZE)}
        block |= {"attn_k": (small, SIZE), "attn_v": (small, SIZE), "ffn_down": (SIZE, HIDDEN)}
        block |= {"ffn_gate": (HIDDEN, SIZE), "ffn_up": (HIDDEN, SIZE)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    draw = np.random.default_rng(0)
    return {f"{name}.weight": draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _add_tokenizer(writer: GGUFWriter, pre: str) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3, 3, 3] + [1] * (len(VOCABULARY) - 3))  # 3: a control token
    writer.add_token_merges(["h e", "Ġ 1", "1 2"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eot_token_id(2)
    writer.add_add_bos_token(False)


def write_half_gguf(source: Path, file: Path) -> Path:
    """Write to `file` what `source` holds, tokenizer and all, with its matrices in 16 bits."""
    reader = GGUFReader(source)
    writer = GGUFWriter(file, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    writer.add_file_type(1)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16 if values.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
