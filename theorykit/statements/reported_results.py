"""§5–6: tables and sentences that can be checked by arithmetic on what the paper itself prints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from theorykit.statements.evidence import Check, EvidenceKind, Form, Found, Truth, computation, measured_later
from theorykit.statements.printed import Printed
from theorykit.statements.statement import Equation, Kind, Statement

# GPT-2 small (Radford et al. 2019): 12 blocks of width 768, vocabulary 50,257, context 1,024
_BLOCKS, _WIDTH, _VOCABULARY, _CONTEXT = 12, 768, 50_257, 1_024
_LAYERS = ((3 * _WIDTH, _WIDTH), (_WIDTH, _WIDTH), (4 * _WIDTH, _WIDTH), (_WIDTH, 4 * _WIDTH))
_PARAMETERS = 12.4e6
TABLE_1 = {"PC-LoRA": (21.2, 40.8), "LRC": (20.5, 39.6)}
"""Perplexity on WikiText-103 and PTB, as printed."""
TABLE_2 = {"low-rank projection": (21.8, 1.3), "cloning": (22.3, 1.8), "LM loss": (21.1, 0.6), "KD loss": (23.5, 3.0)}
"""Perplexity without a component and its difference from the full method, as printed."""
FULL = 20.5
"""Perplexity of the full method, as printed in Table 2."""
PRINTED_GAIN, PRINTED_GAIN_PTB = 0.028, 0.029
"""The text's gains over PC-LoRA on WikiText-103 and PTB, as shares of perplexity."""
CELL_DECIMALS, GAIN_DECIMALS = 1, 3
"""Of the cells of both tables, and of the gains as shares."""
_RANKS = (8, 16, 32, 64, 128, 256)
_SAMPLES = (1e4, 5e6)
# Merity et al. (2017), Table 1: training tokens of WikiText-103
_WIKITEXT_TOKENS = 103_227_021


def parameters_per_rank() -> int:
    """Return what one unit of rank costs over GPT-2 small's 48 linear layers: Σ (m + n) = 147,456."""
    return _BLOCKS * sum(rows + columns for rows, columns in _LAYERS)


def embedding_parameters() -> int:
    """Return GPT-2 small's token and position embeddings: 39,383,808 numbers."""
    return (_VOCABULARY + _CONTEXT) * _WIDTH


def _table_1_parameters() -> Found:
    embeddings, unit = embedding_parameters(), parameters_per_rank()
    rank = _PARAMETERS / unit
    numbers = {"embeddings": embeddings, "per_rank": unit, "implied_rank": rank}
    sentence = (
        f"GPT-2 small's embeddings alone hold {embeddings:,} numbers; at {unit:,} per unit of rank 12.4M without "
        "them is "
        f"rank {rank:.1f}, and {round(rank)} is not among the tested {', '.join(map(str, _RANKS))}"
    )
    fits = embeddings <= _PARAMETERS or round(rank) in _RANKS
    return Found(Truth.PROVED if fits else Truth.REFUTED, sentence, numbers)


def _improvement() -> Found:
    rows = zip(TABLE_1["PC-LoRA"], TABLE_1["LRC"], strict=True)
    gains = [
        Printed.rounded(before, CELL_DECIMALS).gain_to(Printed.rounded(after, CELL_DECIMALS)) for before, after in rows
    ]
    told = [Printed.rounded(gain, GAIN_DECIMALS) for gain in (PRINTED_GAIN, PRINTED_GAIN_PTB)]
    admitted = all(gain.meets(text) for gain, text in zip(gains, told, strict=True))
    first, second = (gain.common(text) for gain, text in zip(gains, told, strict=True)) if admitted else gains
    certain = all(text.low <= gain.low and gain.high <= text.high for gain, text in zip(gains, told, strict=True))
    spans = [f"{100 * gain.low:.2f} to {100 * gain.high:.2f} %" for gain in gains]
    sentence = (
        f"the printed cells, rounded to one decimal, allow gains of {spans[0]} on WikiText-103, where the text says "
        f"{PRINTED_GAIN:.1%}, and of {spans[1]} on PTB, where it says {PRINTED_GAIN_PTB:.1%}: they "
        f"{'admit' if admitted else 'contradict'} the text, and do not show it; the cells as they stand give 3.3 % and "
        "2.9 %"
    )
    numbers = {
        f"{text}, {end}": getattr(gain, end)
        for text, gain in zip(("wikitext", "ptb"), gains, strict=True)
        for end in ("low", "high")
    }
    if not admitted or not second.may_exceed(first):
        return Found(Truth.REFUTED, sentence, numbers)
    return Found(Truth.PROVED if certain and gains[1].low > gains[0].high else Truth.UNDECIDED, sentence, numbers)


def _table_2() -> Found:
    full = Printed.rounded(FULL, CELL_DECIMALS)
    off = [
        name
        for name, (value, difference) in TABLE_2.items()
        if not Printed.rounded(value, CELL_DECIMALS)
        .difference_from(full)
        .meets(Printed.rounded(difference, CELL_DECIMALS))
    ]
    sentence = "all four differences of Table 2 add up; it gives no seeds, so that no row can be told from noise"
    return Found(Truth.REFUTED if off else Truth.UNDECIDED, sentence if not off else f"{off} do not add up")


def _deployed() -> Found:
    dense = _BLOCKS * sum(rows * columns for rows, columns in _LAYERS) + embedding_parameters()
    sentence = (
        f"LoRA trains few numbers and deploys all: {dense:,} matrix entries of GPT-2 small stay in the model, "
        "not 12.4M; Table 1 sets trained numbers of one method beside deployed numbers of others"
    )
    return Found(Truth.REFUTED if dense > _PARAMETERS else Truth.PROVED, sentence, {"deployed": dense})


def _rates() -> Found:
    abstract, section = 0.5, 1.0
    sentence = (
        f"abstract and §7 claim T^−{abstract}, §4.1 claims T^−{section:.0f}; corrected Theorem 1 gives T^−1 without "
        "noise and "
        "T^−½ with noise and a tuned step, both for the mean squared gradient norm"
    )
    return Found(Truth.UNDECIDED if abstract != section else Truth.PROVED, sentence)


def _correlation() -> Found:
    """Draw optimal ranks with a known slope on the paper's sizes, and count correlations of at least 0.97."""
    generator = np.random.default_rng(0)
    draws, noise = 4_000, 0.35
    sizes, grid = np.log(np.geomspace(*_SAMPLES, 6)), np.log(_RANKS)
    shares: dict[str, float] = {}
    for name, slope in (("¼", 0.25), ("½", 0.5)):
        true = slope * (sizes - sizes.mean()) + grid.mean()
        for seeds in (1, 8):
            observed = true + noise / np.sqrt(seeds) * generator.standard_normal((draws, sizes.size))
            nearest = grid[np.abs(observed[:, :, None] - grid).argmin(axis=2)]
            for where, ranks in (("any rank", observed), ("tested ranks", nearest)):
                centred = ranks - ranks.mean(axis=1, keepdims=True)
                norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(sizes - sizes.mean())
                high = int((centred @ (sizes - sizes.mean()) >= 0.97 * norms)[np.ptp(ranks, axis=1) > 0].sum())
                shares[f"{name}, {seeds} seeds, {where}"] = high / draws
    root = np.sqrt(_SAMPLES)
    sentence = (
        f"share of {draws:,} draws that reach 0.97 (sd of ln r* {noise}, 6 sizes): "
        + "; ".join(f"slope {name} {share:.0%}" for name, share in shares.items())
        + ". Whether 0.97 speaks for ½ depends on seeds and grid, which the paper does not tell; √n runs from "
        f"{root[0]:.0f} to "
        f"{root[1]:.0f} while the tested ranks end at {_RANKS[-1]}"
    )
    return Found(Truth.UNDECIDED, sentence, shares)


def _recommended_rank() -> Found:
    root = float(np.sqrt(1e5))
    sentence = (
        f"§5.6 recommends 300–400 at 100K samples (√n = {root:.0f}), §6 recommends √n/10 = {root / 10:.1f}: a "
        "factor of ten; "
        f"√(5·10⁶) = {np.sqrt(5e6):.0f} is above the width {_WIDTH}"
    )
    consistent = 300 <= root / 10 <= 400
    return Found(Truth.PROVED if consistent else Truth.REFUTED, sentence, {"sqrt_n": root, "sqrt_n_over_10": root / 10})


def _sample_unit() -> Found:
    sequences = _WIKITEXT_TOKENS / _CONTEXT
    sentence = (
        f"WikiText-103 has {_WIKITEXT_TOKENS:,} training tokens, {sequences:,.0f} sequences of {_CONTEXT:,}: 5M "
        "samples are neither "
        "its sequences nor its tokens; the unit of n is never said"
    )
    return Found(Truth.UNDECIDED, sentence, {"sequences": round(sequences)})


def _teacher() -> Found:
    published, printed = (37.50, 65.85), (18.3, 35.2)
    sentence = (
        f"GPT-2 small's published zero-shot perplexities are {published[0]} and {published[1]} (Radford et al. "
        "2019, Table 3); the paper's "
        f"teacher has {printed[0]} and {printed[1]}, which needs fine-tuning or another tokenisation that it does "
        "not mention"
    )
    return Found(Truth.UNDECIDED, sentence)


def _principal_components() -> Found:
    sentence = (
        "PC stands for Progressive Compression: the layer is λ(t) W x + B A x + C with λ falling from 1 to 0 "
        "(Hwang et al. 2024, arXiv "
        "2406.09117); no principal components"
    )
    return Found(Truth.UNDECIDED, sentence)


def _contradiction() -> Found:
    sentence = (
        "§6 wants higher ranks for embeddings and lower ranks for larger layers; GPT-2's embedding, "
        f"{_VOCABULARY:,} × {_WIDTH}, is its largest matrix: {_VOCABULARY / (4 * _WIDTH):.0f} times its widest layer"
    )
    return Found(Truth.REFUTED if _VOCABULARY > 4 * _WIDTH else Truth.UNDECIDED, sentence)


def _claim(key: str, label: str, printed: str, corrected: str, *checks: Check, remark: str = "") -> Equation:
    return Equation(key, label, printed, corrected, checks, Kind.CLAIM, remark)


def _computed(title: str, compute: Callable[[], Found], method: EvidenceKind = EvidenceKind.COMPUTATION) -> Check:
    return computation(Form.PRINTED, title, compute, method=method)


STATEMENT = Statement(
    slug="reported-results",
    label="§5–6",
    title="Tables and claims of the experiments",
    kind=Kind.CLAIM,
    equations=(
        _claim(
            "rate-claims",
            "abstract, §4.1, §7",
            "convergence O(1/√T) (abstract, §7) and O(1/T) (§4.1)",
            "1/T without noise, 1/√T with noise and a tuned step, for the squared norm",
            _computed("the two rates", _rates),
        ),
        _claim(
            "faster-convergence",
            "§5.4",
            "low rank leads to faster convergence",
            "Theorem 1 has no such term; AdamW with a cosine schedule is not its SGD",
            measured_later(Form.PRINTED, "gradient norms", "squared gradient norms over steps, per rank and seed"),
        ),
        _claim(
            "table-1-parameters",
            "Table 1",
            "all students have 12.4M parameters",
            "report trained and deployed numbers, embeddings included",
            _computed("parameter count of GPT-2 small", _table_1_parameters),
        ),
        _claim(
            "table-1-improvement",
            "Table 1",
            "2.8% over PC-LoRA on WikiText-103, more pronounced on PTB (2.9%)",
            "the cells admit 2.8 to 3.8% and 2.7 to 3.2%: report differences with intervals over seeds",
            _computed("the two gains", _improvement),
        ),
        _claim(
            "table-1-teacher",
            "Table 1",
            "teacher GPT-2 small at 18.3 and 35.2",
            "37.50 and 65.85 zero-shot",
            _computed("published perplexities", _teacher, EvidenceKind.LITERATURE),
        ),
        _claim(
            "table-1-lora",
            "Table 1",
            "LoRA-FT has 12.4M parameters",
            "LoRA deploys the whole model",
            _computed("deployed numbers", _deployed),
        ),
        _claim(
            "pc-lora",
            "§5.1",
            "PC-LoRA uses principal component analysis",
            "PC is Progressive Compression",
            _computed("the source", _principal_components, EvidenceKind.LITERATURE),
        ),
        _claim(
            "table-2",
            "Table 2",
            "every component is indispensable",
            "paired seeds and negative controls per component",
            _computed("differences", _table_2),
            measured_later(Form.PRINTED, "ablation", "the same ablation over seeds"),
        ),
        _claim(
            "correlation",
            "§5.6",
            "correlation 0.97 supports r* = O(√n)",
            "a slope with an interval, its rivals named, edge ranks censored",
            _computed("correlation under another exponent", _correlation),
        ),
        _claim(
            "recommended-rank",
            "§5.6, §6",
            "rank 300–400 at 100K samples; rank √n/10",
            "neither looks at the loss: theorykit rank-select",
            _computed("the two recommendations", _recommended_rank),
        ),
        _claim(
            "sample-unit",
            "§5.6",
            "10K to 5M samples of WikiText-103",
            "say the unit: 100.8K sequences of 1,024 tokens",
            _computed("sequences in WikiText-103", _sample_unit),
        ),
        _claim(
            "mutual-information-gain",
            "§5.7",
            "cloning raises mutual information by 1.2 nats (MINE)",
            "with controls, ceilings and an estimator that passes tasks of known value",
            measured_later(Form.PRINTED, "MI", "MINE and its peers on paired seeds"),
        ),
        _claim(
            "figure-3-learning-rate",
            "Figure 3, §5.8",
            "robust to learning rates within [1e-4, 1e-2], best around 3e-4",
            "a margin fixed beforehand, paired seeds, the ends of the grid named",
            measured_later(Form.PRINTED, "learning rate", "held-out loss over learning rates and seeds"),
        ),
        _claim(
            "figure-3-clone-weight",
            "Figure 3, §5.8",
            "a sweet spot of λ around 1.0",
            "λ has no scale in eq 4: say the clone loss's scale, then paired seeds at both ends",
            measured_later(Form.PRINTED, "clone weight", "held-out loss over λ and seeds"),
        ),
        _claim(
            "figure-4",
            "Figure 4, §5.8",
            "under a fixed budget the validation loss over ranks is U-shaped",
            "it depends on the noise in the targets and on the number of samples",
            measured_later(Form.PRINTED, "rank", "held-out loss over ranks and seeds"),
        ),
        _claim(
            "layer-ranks",
            "§6",
            "higher ranks for embeddings, lower ranks for larger layers",
            "allocate by measured loss",
            _computed("the largest matrix", _contradiction),
        ),
    ),
    references=(
        "Radford et al. (2019), Language models are unsupervised multitask learners, Table 3",
        "Merity et al. (2017), Pointer sentinel mixture models, ICLR, Table 1",
        "Hwang et al. (2024), PC-LoRA, arXiv 2406.09117",
    ),
)
