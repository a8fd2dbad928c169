"""The measured figures of benchmarks/ beside their targets, as one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theorykit.tables import markdown_cells

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def record_of(name: str) -> dict[str, Any]:
    """Return a record: its result, and the command, commit, seeds and machine that made it."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _coverage(found: dict[str, Any]) -> str:
    cases = [case for part in found.values() if isinstance(part, dict) for case in part.values() if type(case) is dict]
    covered = [case["covered"] for case in cases]
    worst = max(abs(case["bias_in_standard_errors"]) for case in cases)
    return f"{min(covered):.1%} to {max(covered):.1%}; {worst:.1f}"


_ERRORS = ("false_violated", "false_holds")


def _worst_mean(found: dict[str, Any], law: str) -> float:
    rows = [row for row in found["means"] if "exponential" in row["law"] or "lognormal" in row["law"]]
    return max(row[f"{error}_{law}"] for row in rows for error in _ERRORS)


_FIGURES: tuple[tuple[str, str, Callable[[dict[str, Any]], str], str], ...] = (
    (
        "spectra_speed",
        "50 GPT-2-small-shaped matrices: spectra, ε at all ranks, decay fits, against bare float64 Gram, `eigvalsh`",
        lambda found: f"{found['ratio_to_bare_loop']:.2f} ×",
        "≤ 1.3 ×",
    ),
    (
        "spectra_speed",
        "the same against `weightwatcher` 0.7.7 `analyze()`",
        lambda found: f"{found['times_faster_than_weightwatcher']:.1f} × faster",
        "≥ 4 ×",
    ),
    (
        "spectra_speed",
        "ε(r) against a LAPACK SVD where ε/‖W‖ > 1e-6, relative",
        lambda found: f"{found['worst_relative_disagreement_with_lapack']:.0e}",
        "≤ 1e-6",
    ),
    (
        "checkpoint_memory",
        "peak memory on a generated sharded bf16 checkpoint of 4096-wide layers",
        lambda found: f"{found['peak_megabytes']} MB ({found['checkpoint_gigabytes']:.1f} GB checkpoint)",
        "< 952 MB (4 GB)",
    ),
    (
        "checkpoint_memory",
        "killed and started again: layers computed twice",
        lambda found: str(found["killed_after_layers"] - found["layers_not_computed_again"]),
        "0",
    ),
    (
        "calibration_speed",
        "calibrated selection on SmolLM2-135M, 4,096 tokens, against bare forward and backward passes",
        lambda found: f"{found['ratio']:.2f} ×",
        "≤ 2 ×",
    ),
    ("startup", "`theorykit --help`", lambda found: f"{found['help_seconds']:.2f} s", "< 0.3 s"),
    ("startup", "`theorykit rank-select --n 100000`", lambda found: f"{found['rank_select_seconds']:.2f} s", "< 2 s"),
    ("startup", "`theorykit audit`, whole", lambda found: f"{found['audit_seconds']:.1f} s", "< 60 s"),
    (
        "rademacher_speed",
        "exact Rademacher complexity, 768 × 768, N = 10⁴, 200 draws, all ranks, against the draws' matrix products",
        lambda found: f"{found['ratio_to_products']:.2f} ×",
        "≤ 1.5 ×",
    ),
    (
        "mine_speed",
        "MINE on the 50-dimensional dense normal task against that of `benchmark-mi`: time, and mean errors",
        lambda found: (
            f"{found['mine']['share_of_their_time']:.2f} ×; {found['mine']['mean_absolute_error']:.3f} against "
            f"{found['benchmark-mi']['mean_absolute_error']:.3f} nats"
        ),
        "≤ 0.5 ×, no larger error",
    ),
    (
        "critics_speed",
        "24 layers' critics as one batch against one after another, two cores",
        lambda found: f"{found['speed_up']:.1f} × faster",
        "≥ 1.5 ×",
    ),
    (
        "students_speed_cpu",
        "32 small students trained as one batch against one after another, two cores",
        lambda found: f"{found['speed_up']:.1f} × faster",
        "≥ 2 ×",
    ),
    (
        "step_speed_cpu",
        "a factored student's step against a dense Hugging Face GPT-2's: times over floating-point operations",
        lambda found: f"{found['time_ratio_over_operations_ratio']:.2f} ×",
        "≤ 1.25 ×, or the reason: next row",
    ),
    (
        "step_speed_cpu",
        "its reason, seconds of a step in operators over the vocabulary, which no rank shrinks, and in all others",
        lambda found: "; ".join(
            f"{name} {spent['over_the_vocabulary']:.2f} + {spent['all_others']:.2f}"
            for name, spent in found["profile_seconds"].items()
        ),
        "",
    ),
    (
        "step_speed_cpu",
        "a Low-Rank Clone's step against the same losses in Hugging Face's Trainer",
        lambda found: f"{found['speed_up_over_trainer']:.2f} × faster",
        "≥ 1.2 ×",
    ),
    (
        "sweep_kill",
        "a sweep killed 20 times and resumed: records equal bit for bit; lost or written again",
        lambda found: (
            f"{found['records_equal_bit_for_bit']} of {found['students']}; {found['records_lost_or_written_again']}"
        ),
        "all; 0",
    ),
    (
        "planted_controls",
        "planted controls over 20 seeds: right, undecided, wrong; bounds off by a factor of two that are noticed",
        lambda found: (
            f"{found['outcomes'].get('right', 0):,}, {found['outcomes'].get('undecided', 0)}, "
            f"{found['outcomes'].get('wrong', 0)}; {found['wrong_bounds_noticed']} of {found['wrong_bounds']}"
        ),
        "all, ≤ 1, 0; all",
    ),
    (
        "verdict_calibration",
        "false verdicts at the margin of an exponent, grids of ratio 1.2 to 2, noise 0.05 to 0.5: most, at alpha = 5 %",
        lambda found: f"{max(found['exponents'][f'largest_{name}'] for name in _ERRORS):.1%}",
        "≤ 7.8 %: 5 % and two standard errors of 240",
    ),
    (
        "verdict_calibration",
        "false verdicts at the bound of a mean, exponential and lognormal seeds, 5 to 20: most; with Student's t",
        lambda found: f"{_worst_mean(found, 'skewed'):.1%}; {_worst_mean(found, 'symmetric'):.1%}",
        "≤ 5.4 %: 5 % and two standard errors of 10,000",
    ),
    (
        "gaussian_information",
        "corrected Gaussian information, 768 + 768 columns, N = 10⁴",
        lambda found: f"{found['d=768']['seconds']:.2f} s",
        "≤ 1 s",
    ),
    (
        "gaussian_information",
        "its 95 % intervals over 200 draws, d = 64 to 768, ρ up to 0.95: covered; bias in standard errors",
        lambda found: _coverage(found),
        "90 to 98 %; ≤ 3",
    ),
    (
        "rate_distortion_speed",
        "reverse water-filling at d = 4096",
        lambda found: f"{found['milliseconds']:.2f} ms",
        "< 5 ms",
    ),
)


def benchmark_table() -> str:
    """Return the measured figures beside their targets."""
    rows = []
    for name, what, measured, target in _FIGURES:
        try:
            figure = measured(record_of(name)["result"])
        except (OSError, KeyError):  # no record, or one from before the figure was measured
            figure = "not yet recorded"
        rows.append((what, figure, target))
    return markdown_cells(("what", "measured", "target"), rows, tight=True)
