"""What truncation costs SmolLM2-135M without training: predicted loss, measured KL, perplexity, by metric and budget.

make texts && python benchmarks/truncation_loss.py .work/texts
python benchmarks/truncation_loss.py --table

For each seed the calibration passage (*Pride and Prejudice*), the labels drawn from the model and both held-out
passages change. Held out are another novel by the same author (*Persuasion*) and a text of another kind (the Anarchist
FAQ). The second command prints the table of docs/rank-selection.md from the record. Finished seeds are kept in the
folder of the texts and not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from theorykit import select_ranks
from theorykit.models.language_model import LanguageModel, load_language_model, token_blocks
from theorykit.models.model_spectra import LayerSpectra, ModelSpectra
from theorykit.models.truncation import DenseReference, truncated
from theorykit.rank_selection.calibrated import CalibrationSettings, calibrate
from theorykit.spectra.whitening import METRICS, Metric

sys.path.insert(0, str(record.ROOT))
from validation.training import data as texts

SEEDS = (0, 1, 2)
BUDGETS = (0.9, 0.8, 0.6)
EVALUATION_TOKENS = 1024
MULTIPLE = 8
N_SAMPLES = 1e8
HELD_OUT = {"same_kind": "Persuasion", "other_kind": "Anarchist FAQ"}


def uniform_ranks(spectra: ModelSpectra, budget: float) -> dict[str, int]:
    """Return ranks that give every layer the same share of its parameters, in multiples of 8, within the budget."""
    layers = [part.layer for part in spectra.factorable]

    def ranks(share: float) -> dict[str, int]:
        return {layer.name: max(MULTIPLE, int(share * layer.break_even) // MULTIPLE * MULTIPLE) for layer in layers}

    def kept(share: float) -> int:
        found = ranks(share)
        return sum(found[layer.name] * layer.parameters_per_rank for layer in layers)

    limit = budget * spectra.linear_parameters
    shares = [share for share in np.linspace(0, 1, 2001) if kept(float(share)) <= limit]
    return ranks(float(max(shares)))


def in_metric(spectra: ModelSpectra, metric: Metric) -> ModelSpectra:
    """Return the spectra as the selector sees them where it has only this metric."""
    if metric == "fisher":
        return spectra
    layers = [
        LayerSpectra(part.layer, part.whitened.get(metric, part.spectrum)) if part.layer.factorable else part
        for part in spectra.layers
    ]
    return replace(spectra, layers=tuple(layers), calibration=None)


def kept_share(spectra: ModelSpectra, ranks: dict[str, int]) -> float:
    """Return the share of the linear parameters that is kept."""
    stored = sum(
        ranks[part.layer.name] * part.layer.parameters_per_rank if part.layer.name in ranks else part.layer.parameters
        for part in spectra.factorable
    )
    return stored / spectra.linear_parameters


def passages(folder: Path, seed: int) -> tuple[str, dict[str, str]]:
    """Return the calibration passage and the two held-out passages of one seed."""
    novels = texts.austen(folder)
    faq = "\n".join(texts.anarchist_faq(folder).values())
    start = 20_000 + 150_000 * seed
    held_out = {"same_kind": novels["PERSUASION"][start:], "other_kind": faq[3 * start :]}
    return novels["PRIDE"][start:], {key: text[:60_000] for key, text in held_out.items()}


def measure_seed(model: LanguageModel, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Return one row per budget, metric and way of giving out ranks."""
    text, held_out = passages(folder, seed)
    settings = CalibrationSettings(seed=seed, metrics=("activation", "fisher"))
    found = calibrate(model, text, name="Pride and Prejudice", settings=settings)
    references = {
        key: DenseReference(model, token_blocks(model, passage, EVALUATION_TOKENS, 512))
        for key, passage in held_out.items()
    }
    rows = []
    for budget in BUDGETS:
        for metric in METRICS:
            plans = {
                "uniform": uniform_ranks(found.spectra, budget),
                "allocated": select_ranks(
                    in_metric(found.spectra, metric), N_SAMPLES, budget=budget, rank_multiple=MULTIPLE
                ).ranks,
            }
            for way, ranks in plans.items():
                row = {"seed": seed, "budget": budget, "metric": metric, "ranks": way}
                row |= {"kept": kept_share(found.spectra, ranks), "factored_layers": len(ranks)}
                with truncated(model, found.statistics, ranks, metric) as raw:
                    losses = {key: reference.compare(raw) for key, reference in references.items()}
                assert found.spectra.calibration is not None
                row |= {"half_tail_sum": raw, "predicted_kl": found.spectra.calibration.calibrated_loss(raw)}
                for key, loss in losses.items():
                    row[key] = {
                        "kl": loss.kl,
                        "perplexity": loss.perplexity,
                        "dense_perplexity": loss.dense_perplexity,
                    }
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def _measured(losses: list[dict[str, float]]) -> list[str]:
    """Return the KL with half its range over the seeds, and the geometric mean of the perplexity ratios."""
    divergences = [loss["kl"] for loss in losses]
    ratio = statistics.geometric_mean(loss["perplexity"] / loss["dense_perplexity"] for loss in losses)
    spread = (max(divergences) - min(divergences)) / 2
    return [f"{_number(statistics.mean(divergences))} ± {_number(spread)}", _number(ratio)]


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:.0e}".replace("e+0", "e")
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def table(result: dict[str, Any]) -> str:
    """Return the table of the docs: means over seeds (geometric for perplexity ratios), ± half the range of the KL."""
    lines = [
        "| kept | metric | ranks | ½ tail sum | predicted KL | KL, same kind | perplexity × dense | KL, other kind | "
        "perplexity × dense |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for budget in BUDGETS:
        for metric in METRICS:
            for way in ("uniform", "allocated"):
                rows = [
                    row
                    for row in result["rows"]
                    if (row["budget"], row["metric"], row["ranks"]) == (budget, metric, way)
                ]
                cells = [f"{statistics.mean(row['kept'] for row in rows):.0%}", metric, way]
                cells += [
                    _number(statistics.mean(row[key] for row in rows)) for key in ("half_tail_sum", "predicted_kl")
                ]
                for key in HELD_OUT:
                    cells += _measured([row[key] for row in rows])
                if (metric, way) == ("fisher", "allocated"):
                    cells = [f"**{cell}**" for cell in cells]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and record, or print the recorded table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, nargs="?", help="folder made by: make texts")
    parser.add_argument("--table", action="store_true", help="print the recorded table as Markdown")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, choices=SEEDS, help="measure only these now")
    arguments = parser.parse_args()
    if arguments.table:
        recorded = json.loads((record.RESULTS / "truncation_loss.json").read_text(encoding="utf-8"))
        print(table(recorded["result"]))
        return
    if arguments.texts is None:
        parser.error("give the folder made by: make texts")
    files = {seed: arguments.texts / f"truncation-seed-{seed}.json" for seed in SEEDS}
    for seed in arguments.seeds:
        if not files[seed].exists():
            model = load_language_model("smollm2", device="cpu")
            files[seed].write_text(json.dumps(measure_seed(model, arguments.texts, seed)), encoding="utf-8")
    if not all(file.exists() for file in files.values()):
        return
    rows = [row for file in files.values() for row in json.loads(file.read_text(encoding="utf-8"))]
    result = {"held_out": HELD_OUT, "evaluation_tokens": EVALUATION_TOKENS, "rows": rows}
    record.save("truncation_loss", result, seeds=list(SEEDS), preset="cpu")


if __name__ == "__main__":
    main()
