"""§5–6: tables and sentences that can be checked by arithmetic on what the paper itself prints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy.special import ndtri

from theorykit.statements.evidence import (
    Check,
    EvidenceKind,
    Form,
    Found,
    Truth,
    Witness,
    computation,
    measured_later,
    proof,
    witness,
)
from theorykit.statements.printed import Printed
from theorykit.statements.readings import Reading
from theorykit.statements.statement import Equation, Kind, Statement
from theorykit.statements.training_cost import (
    CONTEXT,
    RANKS,
    VOCABULARY,
    WIDTH,
    deployed_numbers,
    teacher_beside,
    teacher_cached,
    teacher_numbers,
    trained_numbers,
    training_costs,
)

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
_SAMPLES = (1e4, 5e6)
# Merity et al. (2017), Table 1: training tokens of WikiText-103
_WIKITEXT_TOKENS = 103_227_021


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


def _told_by_no_protocol(what: str) -> Found:
    return Found(Truth.UNDECIDED, f"not told by the paper, and not measured here: {what}")


def _confidence() -> Found:
    """Compute the half-width of a normal interval with 15 % confidence beside the usual one."""
    level, usual = 0.15, 0.95
    narrow, wide = (float(ndtri((1 + confidence) / 2)) for confidence in (level, usual))
    sentence = (
        f"an interval that covers the truth in {level:.0%} of repetitions is ± {narrow:.3f} standard errors, a tenth "
        f"of the usual ± {wide:.2f}: it misses in {1 - level:.0%}; how it was made is not told"
    )
    return Found(Truth.UNDECIDED, sentence, {"half_width": narrow, "usual_half_width": wide})


def information_of_pairs(rho: sp.Expr) -> sp.Expr:
    """Return I per pair of coordinates with correlation ρ, −½ log(1 − ρ²) (eq 27), in nats."""
    return -sp.log(1 - rho**2) / 2


def _inverse_for_pairs() -> tuple[bool, str]:
    """Differentiate I by u = L/(dσ²) = 2(1 − ρ) for ρ in [0, 1): dI/dρ = ρ/(1 − ρ²) ≥ 0 and dρ/du = −½."""
    rho = sp.Symbol("rho", nonnegative=True)
    slope = sp.simplify(sp.diff(information_of_pairs(rho), rho) - rho / (1 - rho**2))
    return bool(slope == 0), (
        "in the model of eqs 26 and 27 dI/dL = −ρ/(2dσ²(1 − ρ²)) per pair: information falls where the loss rises, for "
        "0 ≤ ρ < 1"
    )


def _not_inverse() -> Witness:
    """Take pairs with ρ = −9/10 and ρ = 0: the first have the larger loss and more information."""
    values = {rho: (2 * (1 - rho), information_of_pairs(rho)) for rho in (sp.Rational(-9, 10), sp.Integer(0))}
    (large, more), (small, less) = values.values()
    assert large > small
    return Witness(
        f"pairs with ρ = 0 and ρ = −0.9: the loss rises from {float(small):.1f} to {float(large):.1f} σ² a coordinate; "
        "information of the first against that of the second, which were not to be larger",
        computed=less,
        printed=more,
        lower=True,
    )


def _floor() -> tuple[bool, str]:
    """Run f = x²/2 at η = 1/L = 1: x − (x + ξ) = −ξ, so that E f'² = E ξ² = σ² at every step after the first."""
    x, noise = sp.symbols("x xi", real=True)
    return bool(sp.expand(x - (x + noise) + noise) == 0), (
        "f = x²/2, η = 1/L = 1: every iterate after the first is −ξ, and E f'² stays σ²: no rate at all"
    )


def _rates(steps: sp.Symbol, noise: sp.Symbol) -> sp.Expr:
    """Return the corrected Theorem 1 at its tuned step, 2LΔ/T + 2σ sqrt(2LΔ/T), with L = Δ = 1."""
    return 2 / steps + 2 * noise * sp.sqrt(2 / steps)


def _without_noise() -> tuple[bool, str]:
    steps, noise = sp.symbols("T sigma", positive=True)
    exact = _rates(steps, noise).subs(noise, 0)
    return bool(sp.limit(exact * steps, steps, sp.oo).is_finite), (
        "the corrected Theorem 1 at σ = 0 is 2LΔ/T, at most 2LΔ/√T: both rates hold, the second loosely"
    )


def _tuned() -> tuple[bool, str]:
    steps, noise = sp.symbols("T sigma", positive=True)
    bound = _rates(steps, noise)
    held = sp.limit(bound * sp.sqrt(steps), steps, sp.oo).is_finite
    return bool(held and sp.limit(bound * steps, steps, sp.oo) == sp.oo), (
        "the corrected Theorem 1 at the tuned step is 2LΔ/T + 2σ sqrt(2LΔ/T), of order 1/√T and not 1/T"
    )


def _correlation() -> Found:
    """Draw optimal ranks with a known slope on the paper's sizes, and count correlations that print as 0.97 or more."""
    least = Printed.rounded(0.97, 2).low
    generator = np.random.default_rng(0)
    draws, noise = 4_000, 0.35
    sizes, grid = np.log(np.geomspace(*_SAMPLES, 6)), np.log(RANKS)
    shares: dict[str, float] = {}
    for name, slope in (("¼", 0.25), ("½", 0.5)):
        true = slope * (sizes - sizes.mean()) + grid.mean()
        for seeds in (1, 8):
            observed = true + noise / np.sqrt(seeds) * generator.standard_normal((draws, sizes.size))
            nearest = grid[np.abs(observed[:, :, None] - grid).argmin(axis=2)]
            for where, ranks in (("any rank", observed), ("tested ranks", nearest)):
                centred = ranks - ranks.mean(axis=1, keepdims=True)
                norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(sizes - sizes.mean())
                high = int((centred @ (sizes - sizes.mean()) >= least * norms)[np.ptp(ranks, axis=1) > 0].sum())
                shares[f"{name}, {seeds} seeds, {where}"] = high / draws
    root = np.sqrt(_SAMPLES)
    sentence = (
        f"share of {draws:,} draws that print as 0.97 or more (sd of ln r* {noise}, 6 sizes): "
        + "; ".join(f"slope {name} {share:.0%}" for name, share in shares.items())
        + ". Whether 0.97 speaks for ½ depends on seeds and grid, which the paper does not tell; √n runs from "
        f"{root[0]:.0f} to "
        f"{root[1]:.0f} while the tested ranks end at {RANKS[-1]}"
    )
    return Found(Truth.UNDECIDED, sentence, shares)


def _recommended_rank() -> Found:
    root = float(np.sqrt(1e5))
    sentence = (
        f"§5.6 recommends 300–400 at 100K samples (√n = {root:.0f}), §6 recommends √n/10 = {root / 10:.1f}, with n the "
        "number of training samples in both, whatever a sample is: a factor of ten; "
        f"√(5·10⁶) = {np.sqrt(5e6):.0f} is above the width {WIDTH}"
    )
    consistent = 300 <= root / 10 <= 400
    return Found(Truth.PROVED if consistent else Truth.REFUTED, sentence, {"sqrt_n": root, "sqrt_n_over_10": root / 10})


def _distinct_sequences() -> Found:
    sequences = _WIKITEXT_TOKENS / CONTEXT
    sentence = (
        f"WikiText-103 has {_WIKITEXT_TOKENS:,} training tokens, {sequences:,.0f} sequences of {CONTEXT:,}: there are "
        "no 5M"
    )
    return Found(
        Truth.REFUTED if sequences < _SAMPLES[1] else Truth.UNDECIDED, sentence, {"sequences": round(sequences)}
    )


def _draws() -> Found:
    batch, iterations = 128, 50_000
    drawn = batch * iterations
    sentence = (
        f"{iterations:,} steps of {batch} draw {drawn:,} sequences, most of them again and again, and 5M tokens or "
        "short pieces are there: the unit of n is never said"
    )
    return Found(Truth.UNDECIDED if drawn >= _SAMPLES[1] else Truth.REFUTED, sentence, {"drawn": drawn})


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


def _smaller_ranks() -> Found:
    times = VOCABULARY / (4 * WIDTH)
    sentence = (
        "§6 wants lower ranks for larger layers and higher ranks for embeddings; GPT-2's embedding, "
        f"{VOCABULARY:,} × {WIDTH}, is its largest matrix: {times:.0f} times its widest layer"
    )
    return Found(Truth.REFUTED if times > 1 else Truth.UNDECIDED, sentence)


def _smaller_shares() -> Found:
    """Find ranks at which the embedding has the higher rank and keeps the smaller share of its numbers."""
    ranks = {"embedding": (VOCABULARY, 300), "MLP": (4 * WIDTH, 250)}
    shares = {name: rank * (rows + WIDTH) / (rows * WIDTH) for name, (rows, rank) in ranks.items()}
    sentence = ", ".join(f"the {name} at rank {ranks[name][1]} keeps {share:.1%}" for name, share in shares.items())
    both = shares["embedding"] < shares["MLP"] and ranks["embedding"][1] > ranks["MLP"][1]
    return Found(
        Truth.PROVED if both else Truth.UNDECIDED,
        f"{sentence}: a higher rank and a smaller share go together, so that the two advices can",
        shares,
    )


def _claim(
    key: str,
    label: str,
    printed: str,
    corrected: str,
    *checks: Check,
    remark: str = "",
    readings: tuple[Reading, ...] = (),
) -> Equation:
    return Equation(key, label, printed, corrected, checks, Kind.CLAIM, remark, readings=readings)


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
            readings=(
                Reading(
                    "fixed-step",
                    "with noise at η = 1/L, as Theorem 1 has it",
                    (proof(Form.PRINTED, "a noisy quadratic", _floor, refutes=True),),
                ),
                Reading(
                    "noiseless",
                    "without noise, either rate",
                    (proof(Form.PRINTED, "corrected Theorem 1 at σ = 0", _without_noise),),
                ),
                Reading(
                    "tuned",
                    "with noise and the step tuned to T, the abstract's rate",
                    (proof(Form.PRINTED, "corrected Theorem 1 at the tuned step", _tuned),),
                ),
            ),
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
            readings=(
                Reading(
                    "deployed",
                    "the numbers of the whole student, as the teacher's 124.0 are",
                    (_computed("embeddings of GPT-2 small", deployed_numbers),),
                ),
                Reading(
                    "trained",
                    "the numbers that are trained, embeddings frozen or left out",
                    (_computed("factors of GPT-2 small", lambda: trained_numbers("the factors of all linear layers")),),
                ),
            ),
        ),
        _claim(
            "table-1-improvement",
            "Table 1",
            "2.8% over PC-LoRA on WikiText-103, more pronounced on PTB (2.9%)",
            "the cells admit 2.8 to 3.8% and 2.7 to 3.2%: report differences with intervals over seeds",
            _computed("the two gains", _improvement),
        ),
        _claim(
            "table-1-speedup",
            "Table 1",
            "speedup of training 3.2 × (KD), 3.1 × (FitNets), 3.5 × (LoRA-FT), 3.3 × (PC-LoRA), 3.6 × (LRC)",
            "at equal tokens below 3 × with the teacher beside the student, about 1.5 × with adapters at all layers",
            proof(Form.CORRECTED, "passes per token", training_costs),
            readings=(
                Reading(
                    "equal-tokens",
                    "equal tokens, the teacher run on each, time as multiplications",
                    (_computed("one forward pass of the teacher", teacher_beside),),
                ),
                Reading(
                    "cached",
                    "equal tokens, the teacher's outputs kept from before, time as multiplications",
                    (_computed("multiplications of the student", teacher_cached),),
                ),
                Reading(
                    "other",
                    "fewer tokens or steps for the same loss, or seconds that do not go with multiplications",
                    (_computed("protocol", lambda: _told_by_no_protocol("tokens, steps and seconds of each method")),),
                ),
            ),
        ),
        _claim(
            "table-1-teacher",
            "Table 1",
            "teacher GPT-2 small at 18.3 and 35.2",
            "37.50 and 65.85 zero-shot",
            _computed("published perplexities", _teacher, EvidenceKind.LITERATURE),
            computation(Form.REMARK, "its number of parameters", teacher_numbers),
        ),
        _claim(
            "table-1-lora",
            "Table 1",
            "LoRA-FT has 12.4M parameters",
            "LoRA trains few numbers and deploys the whole model: report both",
            readings=(
                Reading(
                    "deployed",
                    "the numbers of the whole model that is used",
                    (_computed("numbers of GPT-2 small", deployed_numbers),),
                ),
                Reading(
                    "trained",
                    "the numbers that are trained",
                    (_computed("adapters of GPT-2 small", lambda: trained_numbers("adapters at all linear layers")),),
                ),
            ),
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
            "accuracy-over-rank",
            "§5.5, Figure 1(b)",
            "test accuracy first rises with the rank, then falls (§5.5); it has an inverse relationship (Figure 1(b))",
            "accuracy with an interval over seeds at every rank; §5.1 measures perplexity and defines no accuracy",
            readings=(
                Reading(
                    "rises-then-falls",
                    "it is largest at a rank within the tested ones",
                    (_computed("numbers", lambda: _told_by_no_protocol("accuracy at each rank")),),
                ),
                Reading(
                    "falls",
                    "it falls with the rank throughout, which excludes the other",
                    (_computed("numbers", lambda: _told_by_no_protocol("accuracy at each rank")),),
                ),
            ),
        ),
        _claim(
            "correlation",
            "§5.6",
            "correlation 0.97 supports r* = O(√n)",
            "a slope with an interval, its rivals named, edge ranks censored",
            _computed("correlation under another exponent", _correlation),
        ),
        _claim(
            "figure-2a-interval",
            "Figure 2(a)",
            "the shaded region shows a 15% confidence interval",
            "a 95 % interval over seeds, and how it was made",
            _computed("15 % confidence", _confidence),
            readings=(
                Reading(
                    "level",
                    "it covers the truth in 15 % of repetitions",
                    (_computed("what it was made of", lambda: _told_by_no_protocol("seeds and data of Figure 2(a)")),),
                ),
                Reading(
                    "width",
                    "it is the curve ± 15 %, of unknown confidence",
                    (_computed("what it was made of", lambda: _told_by_no_protocol("seeds and data of Figure 2(a)")),),
                ),
            ),
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
            readings=(
                Reading(
                    "sequences",
                    "different sequences of 1,024 tokens, the unit of §5.1",
                    (_computed("sequences in WikiText-103", _distinct_sequences),),
                ),
                Reading("draws", "draws with repetition, tokens or short pieces", (_computed("draws", _draws),)),
            ),
        ),
        _claim(
            "mutual-information-gain",
            "§5.7",
            "cloning raises mutual information by 1.2 nats (MINE)",
            "with controls, ceilings and an estimator that passes tasks of known value",
            measured_later(Form.PRINTED, "MI", "MINE and its peers on paired seeds"),
        ),
        _claim(
            "inverse-correlation",
            "§5.7",
            "the clone loss shows the expected inverse correlation with mutual information",
            "information falls with the loss for pairs of one variance and ρ ≥ 0; rotated or rescaled states have any",
            proof(Form.CORRECTED, "pairs of one variance", _inverse_for_pairs),
            readings=(
                Reading(
                    "pairs",
                    "expected in the model of eqs 26 and 27 with ρ ≥ 0",
                    (proof(Form.PRINTED, "the slope of information", _inverse_for_pairs),),
                ),
                Reading(
                    "states",
                    "expected of hidden states as such",
                    (witness("pairs that point apart", _not_inverse),),
                ),
                Reading(
                    "measured",
                    "seen over the layers of Figure 2(b)",
                    (_computed("numbers", lambda: _told_by_no_protocol("loss and information of each layer")),),
                ),
            ),
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
            "higher ranks for embeddings, more aggressive compression of larger layers",
            "allocate by measured loss",
            readings=(
                Reading(
                    "rank",
                    "more aggressive is a smaller r, as §4.2 and §6 say in brackets",
                    (_computed("the largest matrix", _smaller_ranks),),
                ),
                Reading(
                    "share",
                    "more aggressive is a smaller share of the numbers, as the ratio of §3.2",
                    (_computed("shares at two ranks", _smaller_shares),),
                ),
            ),
        ),
    ),
    references=(
        "Radford et al. (2019), Language models are unsupervised multitask learners, Table 3",
        "Merity et al. (2017), Pointer sentinel mixture models, ICLR, Table 1",
        "Hwang et al. (2024), PC-LoRA, arXiv 2406.09117",
    ),
)
