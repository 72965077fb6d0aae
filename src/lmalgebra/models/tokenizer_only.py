"""A model's tokenizer without its weights, for a remote that has the weights elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lmalgebra.errors import ModelError
from lmalgebra.models import catalog
from lmalgebra.models.base import Tokenizer
from lmalgebra.models.engines import choose_engine, is_toy
from lmalgebra.models.table import CONTEXT_LENGTH, TableModel


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer, how many tokens its own model can read, and the token that ends that model's answers."""

    tokenizer: Tokenizer
    context_length: int
    end: int | None


def load_tokenizer(source: str, report: Callable[[str], None]) -> LoadedTokenizer:
    """The tokenizer of the model that `source` names, as `load` takes it.

    Raises ModelError when there is no such thing.
    """
    if is_toy(source):
        tokenizer = TableModel.from_source(source).language_model(source).tokenizer
        return LoadedTokenizer(tokenizer, CONTEXT_LENGTH, next(iter(tokenizer.end_tokens)))
    if choose_engine(source).name == "llamacpp":
        return _from_gguf(source, report)
    return _from_folder(source, report)


def _from_gguf(source: str, report: Callable[[str], None]) -> LoadedTokenizer:
    from lmalgebra.models.gguf_tokenizer import GGUFTokenizer
    from lmalgebra.models.llamacpp import GGUFModel

    file = catalog.gguf_path(source, report) if source in catalog.names() else Path(source).expanduser()
    if not file.is_file():
        raise ModelError(f"There is no file '{source}'.", "Give the path of a .gguf file.")
    model = GGUFModel(file, "cpu", vocabulary_only=True)
    tokenizer = GGUFTokenizer(model)
    return LoadedTokenizer(tokenizer, model.context_length, tokenizer.end)


def _from_folder(source: str, report: Callable[[str], None]) -> LoadedTokenizer:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from lmalgebra.models.loading import resolve
    from lmalgebra.models.vocabulary import HuggingFaceTokenizer

    folder = str(Path(source).expanduser())
    if not Path(folder, "tokenizer.json").is_file():
        folder = resolve(source, report)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # Transformers raises many kinds here
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"The tokenizer of '{source}' cannot be loaded: {reason}", "Check the name.") from error
    ends, context = tokenizer.eos_token_id, tokenizer.model_max_length
    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id or ends
        context = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().max_position_embeddings
    except (OSError, ValueError, AttributeError):  # a folder with a tokenizer only
        pass
    ends = frozenset([ends] if isinstance(ends, int) else ends or ())
    return LoadedTokenizer(HuggingFaceTokenizer(tokenizer, ends, source), int(context), tokenizer.eos_token_id)
