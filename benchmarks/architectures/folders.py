"""Folders as people have them: weights, configuration, tokenizer, texts; and the command line, run in this process."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from .configurations import VOCABULARY

LETTERS = 4700
"""Tokens of each text: 4,096 are read by --evaluate."""


def save_folder(model: Any, folder: Path, quantised: str = "") -> None:
    """Write weights and configuration as transformers does, a tokenizer of bytes, and two texts.

    Args:
        model: A live model.
        folder: Made anew.
        quantised: Method under which the matrices are then stored, or an empty string.
    """
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    if quantised:
        _quantise(folder, quantised)
    # bytes without merges: the kind of tokenizer that every class of transformers can rebuild from its vocabulary
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[: VOCABULARY - 3]
    vocabulary = {"<pad>": 0, "<s>": 1, "<unk>": 2} | {letter: index + 3 for index, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)
    for seed, name in enumerate(("calibration.txt", "evaluation.txt")):
        drawn = torch.randint(33, 127, (LETTERS,), generator=torch.Generator().manual_seed(seed))
        (folder / name).write_text(bytes(drawn.tolist()).decode("ascii"))


def _quantise(folder: Path, method: str) -> None:
    """Store the projections the way a quantiser does, with its mark in config.json."""
    file = folder / "model.safetensors"
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(file).items():
        stem = name.removesuffix(".weight")
        if not stem.endswith("_proj"):
            tensors[name] = tensor
        elif method == "fp8":
            tensors |= {name: tensor.to(torch.float8_e4m3fn), f"{stem}.weight_scale_inv": torch.ones(1, 1)}
        elif method == "torchao":
            tensors |= {
                f"{stem}._weight_qdata": (tensor * 100).to(torch.int8),
                f"{stem}._weight_scale": torch.rand(tensor.shape[0], 2),
            }
        else:
            rows = tensor.shape[1] // 8 if method == "gptq" else tensor.shape[1]
            columns = tensor.shape[0] if method == "gptq" else tensor.shape[0] // 8
            tensors |= {
                f"{stem}.qweight": torch.ones(rows, columns, dtype=torch.int32),
                f"{stem}.qzeros": torch.ones(1, tensor.shape[0] // 8, dtype=torch.int32),
                f"{stem}.scales": torch.ones(1, tensor.shape[0], dtype=torch.float16),
            }
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))


@dataclass(frozen=True)
class Answer:
    """What a command line gave.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Return the JSON object that it printed."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def line(self) -> str:
        """Return the last line of the error that is no hint."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip() and not line.strip().startswith("hint")]
        return lines[0] if lines else ""

    @property
    def is_clean_refusal(self) -> bool:
        """Return whether the command refused with exit code 2 and without a traceback."""
        return self.code == 2 and "Traceback" not in self.err and len(self.err.strip().splitlines()) <= 4


def theorykit(*arguments: Any) -> Answer:
    """Run theorykit's command line in this process."""
    from theorykit.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException as error:  # a crash of the program under test is a row of the table
            code = 1
            sys.stderr.write(f"{type(error).__name__}: {error}")
    return Answer(code, out.getvalue(), err.getvalue())
