"""A causal language model that can be run on text, loaded with transformers from safetensors or GGUF only."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from theorykit.devices import free_bytes, torch_device
from theorykit.errors import CalibrationError, CheckpointError, InputError, NotRunnableError
from theorykit.models.causality import require_causal
from theorykit.models.gguf.settings import read_settings, require_all_read, restored_config
from theorykit.models.locations import INDEX, SINGLE, WEIGHTS_ALONE, locate, read_config, reason_of, weight_files
from theorykit.models.running import as_judged, run_on, unwrapped
from theorykit.models.sources import ModuleSource, module_source, open_weights

_SAMPLES = ("a", "The sea, 1 and 2.")
_LIMITS = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_seq_len",
    "max_sequence_length",
    "n_ctx",
    "seq_length",
)
_MOST_OFFSET = 64
_OTHER_TASK = re.compile(
    r"For\w*(Classification|Answering|Choice|MaskedLM|Prediction|Regression|RewardModel|Detection)$"
)
_PLAIN_HINT = f"give a decoder-only language model, or {WEIGHTS_ALONE}"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class LanguageModel:
    """A model in evaluation mode with its tokenizer.

    Attributes:
        name: What the user called it.
        module: The transformers model; its parameters do not require gradients.
        tokenizer: Its tokenizer.
        device: Where it lies.
    """

    name: str
    module: Any
    tokenizer: Any
    device: torch.device

    def __post_init__(self) -> None:
        # torch.compile and data parallelism put a module around it that has other names and no configuration
        object.__setattr__(self, "module", unwrapped(self.module))

    @cached_property
    def source(self) -> ModuleSource:
        """Return its linear layers with their matrices, found once."""
        return module_source(self.module, self.name)


def load_language_model(model: str, *, device: str | None = None) -> LanguageModel:
    """Load a causal language model in float32, without remote code and without pickles.

    Args:
        model: As in :func:`theorykit.models.sources.open_weights`: ``smollm2``, a folder, a GGUF file, a hub id.
        device: A torch device; a GPU where there is one if None.

    Raises:
        InputError: no such model or device, or a file without what is needed to run it.
        CheckpointError: weights that are damaged, incomplete or quantised.
        CalibrationError: weights that can be read, of a model that is no causal language model or that transformers
            cannot run.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    place = torch_device(device)
    path = locate(model)
    gguf_file = _gguf_file(path)
    if path.is_dir() and not (path / "config.json").exists() and not list(path.glob("*.gguf")):
        raise InputError(f"{path} has no config.json, so the model cannot be run on text", WEIGHTS_ALONE)
    if gguf_file is None:
        open_weights(path)  # refuses quantised weights, which transformers casts to numbers without a word
    folder = path if path.is_dir() else path.parent
    if gguf_file is None and (reason := _why_not_causal(folder)):
        raise CalibrationError(reason, _PLAIN_HINT)
    options: dict[str, Any] = {"trust_remote_code": False}
    if gguf_file is not None:
        options["gguf_file"] = gguf_file.name
    elif path.is_file() and path.name != SINGLE:
        raise InputError(f"{path} cannot be run: only {SINGLE} can", WEIGHTS_ALONE)
    logging.disable_progress_bar()
    # the GGUF reader draws a bar of its own
    with redirect_stderr(io.StringIO()), _errors_only():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            if gguf_file is None:
                options["use_safetensors"] = True
            else:
                settings = read_settings(gguf_file)
                options["config"] = restored_config(gguf_file, settings)
            module, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, **options
            )
        except CheckpointError:
            raise
        except Exception as error:  # transformers raises many kinds of error for unreadable folders
            if gguf_file is not None:
                open_weights(path)  # tells better what is wrong with a damaged file
            reason = reason_of(error)
            if "ignore_mismatched_sizes" in reason:
                raise CheckpointError(
                    f"{path}: some weights have other shapes than the model that transformers builds", WEIGHTS_ALONE
                ) from error
            raise CalibrationError(
                f"{path} cannot be run as a causal language model: {reason}", WEIGHTS_ALONE
            ) from error
    # transformers fills what a checkpoint lacks with random numbers
    missing = sorted(set(report["missing_keys"]) & {name for name, _ in module.named_parameters()})
    if missing and set(missing) <= _names_of_head(module):
        raise CalibrationError(f"{path} holds no head of a language model ({missing[0]})", _PLAIN_HINT)
    if missing and gguf_file is not None:
        raise NotRunnableError(
            f"{path} lacks {len(missing)} of the model's weights, among them {missing[0]}: transformers makes a "
            f"{type(module).__name__} of it",
            WEIGHTS_ALONE,
        )
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} of the model's weights, among them {missing[0]}",
            f"fetch it again, or {WEIGHTS_ALONE}",
        )
    if gguf_file is not None:
        require_all_read(module, settings)
    module.requires_grad_(False)
    _forget_quantisation(module)
    module = module.eval().to(place)
    require_causal(module, str(path))
    return LanguageModel(model, module, tokenizer, place)


def _names_of_head(module: Any) -> set[str]:
    head = module.get_output_embeddings()
    own = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    return {name for name, parameter in module.named_parameters() if id(parameter) in own}


def _why_not_causal(folder: Path) -> str:
    """Return why the model of a folder is no causal language model, by its configuration alone, or an empty string.

    What transformers cannot read as a configuration is left to its own words when the model is loaded.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    settings = read_config(folder)
    kind, listed = str(settings.get("model_type")), settings.get("architectures")
    classes = [str(name) for name in listed] if isinstance(listed, list) else []
    causal = str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind, ""))
    if any(name == causal or name.endswith(("ForCausalLM", "LMHeadModel")) for name in classes):
        return ""
    try:
        with _errors_only():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # transformers raises many kinds of error for what is no configuration
        return ""
    name = classes[0] if classes else f"model of type {kind}"
    if getattr(config, "is_encoder_decoder", False):
        return f"{folder} holds an encoder-decoder ({name}), whose decoder reads what its encoder made of another text"
    if not causal:
        return f"{folder} holds a {name}, which transformers does not build as a causal language model"
    if classes and all(_OTHER_TASK.search(name) for name in classes):
        return f"{folder} holds a {name}, which is no causal language model"
    return ""


def _forget_quantisation(module: torch.nn.Module) -> None:
    """Take away the marks of a quantised file: its weights are float32 now, and marked ones cannot be saved."""
    for name in ("hf_quantizer", "quantization_method"):
        module.__dict__.pop(name, None)
    module.__dict__.pop("is_quantized", None)
    module.config.__dict__.pop("quantization_config", None)


def _gguf_file(path: Path) -> Path | None:
    """Return the GGUF file to run, or None where the weights lie in other files."""
    try:
        weights = weight_files(path)
    except CheckpointError:
        return None
    return weights.files[0] if weights.kind == "gguf" else None


@contextmanager
def _errors_only() -> Iterator[None]:
    """Keep transformers' warnings off the terminal for a while."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def why_not_runnable(model: str) -> str:
    """Return why a model cannot be run on text here, or an empty string where it should be possible."""
    path = locate(model)
    folder = path if path.is_dir() else path.parent
    gguf_file = _gguf_file(path)
    if gguf_file is not None:
        size = 8 * gguf_file.stat().st_size  # from about 4 bits to 32
    elif path.is_file() and path.name != SINGLE:
        return f"only GGUF files and {SINGLE} can be run on text, not {path.name}"
    else:
        config = read_config(folder)
        usual = (SINGLE, INDEX, str(config.get("transformers_weights", SINGLE)))
        if not config or not any((folder / name).is_file() for name in usual):
            return f"{folder} has no config.json with safetensors weights, so the model cannot be run on text"
        if reason := _why_not_causal(folder):
            return reason
        if not any((folder / name).exists() for name in _TOKENIZERS):
            return f"{folder} has no tokenizer"
        size = 2 * sum(file.stat().st_size for file in weight_files(folder).files)  # from 16 bits to 32
    free = free_bytes()
    if free is not None and 3 * size > free:
        return f"about {3 * size / 2**30:.0f} GiB of memory are needed and {free / 2**30:.0f} are free"
    return ""


def context_length(model: LanguageModel) -> int | None:
    """Return how many tokens the model reads at once, or None where neither configuration nor module says.

    A table of positions has fewer rows for text than it has in all where the first positions stand for padding: the
    model is run on a few tokens, and the rows that they take tell where text begins.
    """
    config: Any = getattr(model.module, "config", None)
    nested = config.get_text_config() if hasattr(config, "get_text_config") else config
    told = [getattr(part, name, None) for name in _LIMITS for part in (nested, config)]
    limits = [limit for limit in told if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0][:1]
    if _may_hold_positions(model.module, limits):
        limits += _rows_for_text(model)
    return min(limits, default=None)


def _may_hold_positions(module: Any, limits: list[int]) -> bool:
    """Tell whether an embedding, beside that of the tokens, may be a table of positions by its size."""
    if not isinstance(module, torch.nn.Module):
        return False
    own: Any = getattr(module, "get_input_embeddings", None)
    tokens = own() if callable(own) else None
    others = (part for part in module.modules() if isinstance(part, torch.nn.Embedding) and part is not tokens)
    rows = [part.num_embeddings for part in others]
    return any(not limits or abs(count - limits[0]) <= _MOST_OFFSET for count in rows)


class _Lookups(torch.overrides.TorchFunctionMode):
    """Notes each look-up in an embedding: the rows of the table, and which of them were taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[int, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.embedding:
            ids, table = args[:2]
            self.taken.append((len(table), ids.detach().flatten().cpu()))
        return func(*args, **(kwargs or {}))


def _rows_for_text(model: LanguageModel) -> list[int]:
    """Return how many rows of each table of positions text can take: those from the first token's on.

    A table of positions is what equal tokens look up in consecutive rows.
    """
    known = int(model.module.get_input_embeddings().weight.shape[0])
    tokens = torch.full((1, 3), known // 2, dtype=torch.int64, device=model.device)
    lookups = _Lookups()
    try:
        with as_judged(model.module), torch.no_grad(), lookups:
            run_on(model.module, tokens)
    except Exception:  # what stops the model here is told where it is run in earnest
        return []
    steps = torch.arange(tokens.shape[1])
    return [rows - int(taken[0]) for rows, taken in lookups.taken if torch.equal(taken, taken[:1] + steps)]


def heading_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that a tokenizer puts in front of every text by itself, as a begin-of-sequence token.

    Models that were trained behind them read right only behind them. What a tokenizer puts at the end is no heading.
    """
    heading: tuple[int, ...] | None = None
    known = [tokenizer.decode([len(tokenizer) // part]) for part in (2, 3)]  # for vocabularies without letters
    for text in (*_SAMPLES, *known):
        try:
            plain = tokenizer(text, add_special_tokens=False)["input_ids"]
            whole = tokenizer(text)["input_ids"]
        except Exception:  # tokenizers raises it where the text is not in the vocabulary
            continue
        if not set(plain) - set(tokenizer.all_special_ids):
            continue  # nothing tells the text from what is put around it
        starts = range(len(whole) - len(plain) + 1)
        start = next((start for start in starts if whole[start : start + len(plain)] == plain), 0)
        here = tuple(int(token) for token in whole[:start])
        if heading not in (None, here):
            return ()
        heading = here
    return heading or ()


def token_blocks(
    model: LanguageModel,
    text: str,
    n_tokens: int,
    block: int,
    *,
    name: str = "the text",
    hint: str = "give a longer text",
) -> torch.Tensor:
    """Return the first tokens of a text as blocks ``[n_tokens // block, block]``, int64.

    Each block begins with the tokens that the tokenizer puts in front of every text (:func:`heading_tokens`), where it
    does so: ``n_tokens`` counts them.

    Args:
        model: For its tokenizer.
        text: Plain text.
        n_tokens: How many tokens; a multiple of ``block``.
        block: Tokens per block.
        name: How an error message calls the text.
        hint: What the error says of a text that is too short.

    Raises:
        InputError: the text has fewer tokens, the model cannot read a whole block, or the tokenizer is not its own.
    """
    if not text.strip():
        raise InputError(f"{name} is empty", "give a plain text file")
    longest = context_length(model)
    if longest is not None and longest < block:
        raise InputError(
            f"{model.name} reads at most {longest} tokens at once, and a block has {block}", "give shorter blocks"
        )
    with _errors_only():
        heading = heading_tokens(model.tokenizer)
        if block <= len(heading):
            raise InputError(
                f"a block of {block} tokens has no room behind the {len(heading)} that head it", "give longer blocks"
            )
        count = n_tokens // block
        wanted = n_tokens - count * len(heading)
        # 16 characters per token are far above most tokenizers' mean, and spare tokenising a whole corpus
        ids = model.tokenizer(text[: 16 * wanted], add_special_tokens=False)["input_ids"]
        if len(ids) < wanted and len(text) > 16 * wanted:
            ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < wanted:
        raise InputError(
            f"{name} has {len(ids):,} tokens, and {wanted:,} are needed",
            hint,
        )
    tokens = torch.tensor(ids[:wanted], dtype=torch.int64).view(count, -1)
    if heading:
        tokens = torch.cat([torch.tensor(heading, dtype=torch.int64).expand(count, -1), tokens], dim=1)
    known = model.module.get_input_embeddings().weight.shape[0]
    if int(tokens.max()) >= known:
        raise InputError(
            f"{model.name}: the tokenizer gives the id {int(tokens.max())} and the model has {known} embeddings",
            "the tokenizer belongs to another model; fetch both again",
        )
    return tokens
