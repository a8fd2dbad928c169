"""What GPT-2 small and its students cost, in numbers and in multiplications: Table 1's parameters and speed-ups."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Found, Truth
from theorykit.statements.printed import Printed

# GPT-2 small (Radford et al. 2019): 12 blocks of width 768, vocabulary 50,257, context 1,024
BLOCKS, WIDTH, VOCABULARY, CONTEXT = 12, 768, 50_257, 1_024
LAYERS = ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH))
PARAMETERS = 12.4e6
SPEEDUPS = {"KD": 3.2, "FitNets": 3.1, "LoRA-FT": 3.5, "PC-LoRA": 3.3, "LRC": 3.6}
"""Of training, against fine-tuning the whole teacher, as printed in Table 1."""
_DECIMALS = 1
"""Of both columns."""
RANKS = (8, 16, 32, 64, 128, 256)
"""That §5.1 tests."""


def parameters_per_rank() -> int:
    """Return what one unit of rank costs over GPT-2 small's 48 linear layers: Σ (m + n) = 147,456."""
    return BLOCKS * sum(rows + columns for rows, columns in LAYERS)


def embedding_parameters() -> int:
    """Return GPT-2 small's token and position embeddings: 39,383,808 numbers."""
    return (VOCABULARY + CONTEXT) * WIDTH


def deployed_numbers() -> Found:
    """Hold 12.4M against the embeddings alone, which every student has."""
    embeddings = embedding_parameters()
    linear = BLOCKS * sum(rows * columns for rows, columns in LAYERS)
    sentence = (
        f"GPT-2 small's embeddings alone hold {embeddings:,} numbers, and every student has them; LoRA deploys the "
        f"{linear:,} of its linear layers as well"
    )
    numbers = {"embeddings": embeddings, "linear": linear}
    return Found(Truth.REFUTED if embeddings > PARAMETERS else Truth.UNDECIDED, sentence, numbers)


def teacher_numbers() -> Found:
    """Count GPT-2 small whole, biases and norms with it, against the text's 124 million and Table 1's 124.0."""
    biases = BLOCKS * sum(rows for rows, _ in LAYERS)
    norms = 2 * WIDTH * (2 * BLOCKS + 1)
    whole = BLOCKS * sum(rows * columns for rows, columns in LAYERS) + biases + norms + embedding_parameters()
    text, cell = (Printed.rounded(124.0, decimals).holds(whole / 1e6) for decimals in (0, _DECIMALS))
    prints = {True: "prints as", False: "does not print as"}
    sentence = (
        f"GPT-2 small holds {whole:,} numbers, which {prints[text]} 124 million and {prints[cell]} Table 1's 124.0"
    )
    return Found(Truth.UNDECIDED, sentence, {"parameters": whole})


def trained_numbers(student: str) -> Found:
    """Say which ranks give the printed number where only factors are counted, embeddings frozen or left out."""
    unit = parameters_per_rank()
    printed = Printed.rounded(PARAMETERS / 1e6, _DECIMALS)
    ranks = [rank for rank in range(1, WIDTH + 1) if printed.holds(rank * unit / 1e6)]
    sentence = (
        f"{student} hold {unit:,} numbers per unit of rank: 12.4M is rank {', '.join(map(str, ranks)) or 'none'}, "
        f"{'one' if set(ranks) & set(RANKS) else 'none'} of the {', '.join(map(str, RANKS))} of §5.1; that of "
        "Table 1 is not told"
    )
    found = {"per_rank": unit, "implied_rank": PARAMETERS / unit}
    return Found(Truth.UNDECIDED if ranks else Truth.REFUTED, sentence, found)


_SHARE = sp.Symbol("s", positive=True)  # a student's forward pass over the teacher's
_FINE_TUNING = 3  # forward passes of the teacher per token: one forward, one backward to inputs, one to weights


def training_costs() -> tuple[bool, str]:
    """Bound 3/(1 + 3s) with the teacher run beside the student, and 3/2 with adapters, which cost next to nothing."""
    ratio = sp.Integer(_FINE_TUNING) / (1 + 3 * _SHARE)
    held = sp.limit(ratio, _SHARE, 0) == 3 and sp.diff(ratio, _SHARE).is_negative
    whole = BLOCKS * sum(rows * columns for rows, columns in LAYERS) + VOCABULARY * WIDTH
    lowest = LAYERS[0][0] * LAYERS[0][1]
    adapters = _FINE_TUNING * whole / (2 * whole - lowest)
    return bool(held), (
        "per token fine-tuning costs 3 forward passes of the teacher; a teacher beside the student costs 1 and the "
        "student 3 s, s > 0: at most 3/(1 + 3s) < 3 times as fast; adapters at all layers need the forward pass and "
        f"the one back to the inputs, but for the lowest layer: at most {adapters:.2f} times in GPT-2 small"
    )


def _too_fast(limit: float, why: str) -> Found:
    """Say which printed speed-ups no value that prints so keeps below a limit."""
    fast = [name for name, value in SPEEDUPS.items() if Printed.rounded(value, _DECIMALS).low > limit]
    above = ", ".join(f"{name} {SPEEDUPS[name]}" for name in fast) or "none"
    sentence = f"{why}: below {limit:.3g} ×; printed above it, whatever their rounding: {above}"
    return Found(Truth.REFUTED if fast else Truth.UNDECIDED, sentence, {"limit": limit, "above": len(fast)})


def teacher_beside() -> Found:
    """Hold the printed speed-ups against what one forward pass of the teacher per token leaves."""
    return _too_fast(
        float(_FINE_TUNING), "a forward pass of the whole teacher for every token is a third of fine-tuning"
    )


def teacher_cached() -> Found:
    """Count multiplications per token: the student's factors and the output layer against the dense model's."""
    dense = BLOCKS * sum(rows * columns for rows, columns in LAYERS)
    head = VOCABULARY * WIDTH
    return _too_fast(
        (dense + head) / (Printed.rounded(PARAMETERS / 1e6, _DECIMALS).low * 1e6 + head),
        f"12.35M factors and the output layer's {head:,} numbers against {dense + head:,}, attention left out",
    )
