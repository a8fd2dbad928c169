"""Ways of making a model smaller, at equal stored numbers: perplexity on three kinds of text that none was made with.

make texts && python benchmarks/compression.py .work/texts
python benchmarks/compression.py --table
python benchmarks/compression.py --figure docs/figures/compression.png

Protocol, written before the runs. One model in float32. All methods get the same calibration tokens: those of
``theorykit compress`` at its defaults (prose, documentation, the model's own text, 8 blocks of 512 tokens each, seed
0). Each method changes the linear layers of the decoder blocks; embeddings and head stay. A method at share s stores
at most s times the numbers of these layers, counted as its own format stores them: r(m + n) for two factors,
r(m + n − r) for the gauge-free form, the remaining rows and columns for narrowing. Perplexity is measured on 8 blocks
of 512 tokens each of *Persuasion*, of the Anarchist FAQ and of Python's standard library; no choice looks at them.
What is reported is the mean over blocks of the change of the cross-entropy, as a ratio of perplexities, with Student's
95 % interval over blocks. No method trains. Deviations from the papers: ASVD, SVD-LLM and plain SVD are allocated by
their own relative truncation error, which their authors do otherwise or not at all; KFAC-SVD is allocated by one KL per
layer at a tenth of the full rank on the first 512 calibration tokens; MoDeGPT keeps the same share in all three kinds
of modules. Finished rows are kept in the folder of the texts and not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from rivals.low_rank import METRICS, Truncation, numbers, truncation, uniform_rank
from rivals.moments import ModelMoments, collect
from rivals.narrowing import block_shares, narrowed

from theorykit.compression.compress import compress_prepared
from theorykit.compression.planning import PreparedModel, prepare_compression
from theorykit.compression.report import Interval
from theorykit.compression.request import CompressionSettings, PieceSizes
from theorykit.compression.texts import Text, text_pieces
from theorykit.models.language_model import LanguageModel, load_language_model
from theorykit.rank_selection.allocation import LayerOptions, allocate

sys.path.insert(0, str(record.ROOT))
from validation.training import data as texts

SHARES = (0.9, 0.8, 0.6, 0.4)
FORMS = ("two factors", "gauge-free")
WAYS = ("uniform", "allocated")
JUDGED = ("novel", "non-fiction", "program code")
MULTIPLE = 8
TENTH = 0.1
SEED = 0


def judged_texts(folder: Path) -> list[Text]:
    """Return the texts that are only judged on."""
    import argparse as module_1
    import typing as module_2

    novel = texts.austen(folder)["PERSUASION"][20_000:80_000]
    faq = "\n".join(texts.anarchist_faq(folder).values())[60_000:120_000]
    code = inspect.getsource(module_1)[20_000:] + inspect.getsource(module_2)
    return [Text(name, text) for name, text in zip(JUDGED, (novel, faq, code), strict=True)]


class Judge:
    """Cross-entropy of the model as it is now, by kind of text and block, beside that of the dense model."""

    def __init__(self, model: LanguageModel, kinds: list[Text], sizes: PieceSizes) -> None:
        pieces = PieceSizes(sizes.block, 0, 0, sizes.judging)
        self._model = model
        self.tokens = {kind.name: text_pieces(model, kind, pieces).judging for kind in kinds}
        self.dense = self._entropies()

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the tokens of each kind."""
        return {name: hashlib.sha256(tokens.numpy().tobytes()).hexdigest() for name, tokens in self.tokens.items()}

    def _entropies(self) -> dict[str, list[float]]:
        result = {}
        for name, tokens in self.tokens.items():
            result[name] = [self._entropy(block) for block in tokens.split(1)]
        return result

    @torch.no_grad()
    def _entropy(self, block: torch.Tensor) -> float:
        logits = self._model.module(block, use_cache=False).logits[0, :-1].float()
        return float(torch.nn.functional.cross_entropy(logits, block[0, 1:]))

    def ratios(self) -> dict[str, dict[str, float]]:
        """Return perplexity over the dense one, with its interval, by kind of text."""
        result = {}
        for name, entropies in self._entropies().items():
            change = [after - before for before, after in zip(self.dense[name], entropies, strict=True)]
            result[name] = asdict(Interval.of_blocks(change).exp())
        return result


@contextmanager
def replaced(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> Iterator[None]:
    """Run with other weights, and put the old ones back."""
    kept = {name: module.get_submodule(name).weight.data for name in weights}
    try:
        for name, weight in weights.items():
            module.get_submodule(name).weight.data = weight
        yield
    finally:
        for name, weight in kept.items():
            module.get_submodule(name).weight.data = weight


def allocated_ranks(
    parts: dict[str, Truncation], scales: dict[str, float], share: float, *, gauge_free: bool
) -> dict[str, int | None]:
    """Return ranks in multiples of 8, or None for dense, of least total loss within a share of the numbers."""
    options, choices = [], []
    for name, part in parts.items():
        shape = part.left.shape[0], part.right.shape[1]
        full = min(shape)
        ranks: list[int | None] = [*range(MULTIPLE, full, MULTIPLE), None]
        costs = np.array([float(numbers(shape, rank, gauge_free=gauge_free)) for rank in ranks])
        losses = np.array([0.0 if rank is None else scales[name] * float(part.losses[rank]) for rank in ranks])
        options.append(LayerOptions(costs, losses))
        choices.append(ranks)
    everything = sum(part.left.shape[0] * part.right.shape[1] for part in parts.values())
    picked = allocate(options, share * everything).choice
    return {name: ranks[index] for name, ranks, index in zip(parts, choices, picked, strict=True)}


def layer_scales(model: LanguageModel, parts: dict[str, Truncation], block: torch.Tensor) -> dict[str, float]:
    """Return the KL of each layer alone at a tenth of its full rank over its truncation error there."""
    scales = {}
    with torch.no_grad():
        dense = model.module(block, use_cache=False).logits[0].float().log_softmax(-1)
        for name, part in parts.items():
            rank = max(1, round(TENTH * (part.losses.numel() - 1)))
            with replaced(model.module, {name: part.weight(rank)}):
                now = model.module(block, use_cache=False).logits[0].float().log_softmax(-1)
            kl = float((dense.exp() * (dense - now)).sum(-1).mean())
            scales[name] = max(kl, 1e-12) / max(float(part.losses[rank]), 1e-300)
    return scales


class Rows:
    """Measured rows, kept in a file as they come."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def has(self, **row: Any) -> bool:
        """Return whether a row is measured already."""
        return any(all(known[key] == value for key, value in row.items()) for known in self.rows)

    def add(self, **row: Any) -> None:
        """Keep a row."""
        self.rows.append(row)
        self._file.write_text(json.dumps(self.rows, indent=1))
        told = " ".join(f"{name} {ratio['value']:.3f}" for name, ratio in row["ratios"].items())
        print(
            f"{time.strftime('%H:%M:%S')} {row['method']} {row['ranks']} {row['form']} {row['share']}: {told}",
            flush=True,
        )


def measure_low_rank(
    model: LanguageModel, names: list[str], found: ModelMoments, judge: Judge, rows: Rows, first: torch.Tensor
) -> None:
    """Measure the truncations in all metrics."""
    for metric in METRICS:
        wanted = [(form, ranks, share) for share in SHARES for form in FORMS for ranks in WAYS]
        wanted = [key for key in wanted if not rows.has(method=metric, form=key[0], ranks=key[1], share=key[2])]
        if not wanted:
            continue
        parts = {
            name: truncation(model.module.get_submodule(name).weight, found.layers[name], metric) for name in names
        }
        if metric == "KFAC-SVD":
            scales = layer_scales(model, parts, first)
        else:
            scales = {name: 1 / float(part.losses[0]) for name, part in parts.items()}
        everything = sum(part.left.shape[0] * part.right.shape[1] for part in parts.values())
        for form, way, share in wanted:
            free = form == "gauge-free"
            shapes = {name: (part.left.shape[0], part.right.shape[1]) for name, part in parts.items()}
            if way == "uniform":
                ranks = {name: uniform_rank(shape, share, gauge_free=free) for name, shape in shapes.items()}
            else:
                ranks = allocated_ranks(parts, scales, share, gauge_free=free)
            weights = {name: parts[name].weight(rank) for name, rank in ranks.items() if rank is not None}
            stored = sum(numbers(shapes[name], rank, gauge_free=free) for name, rank in ranks.items())
            assert stored <= share * everything
            with replaced(model.module, weights):
                ratios = judge.ratios()
            rows.add(method=metric, form=form, ranks=way, share=share, kept=stored / everything, ratios=ratios)


def measure_narrowing(model: LanguageModel, names: list[str], found: ModelMoments, judge: Judge, rows: Rows) -> None:
    """Measure MoDeGPT."""
    everything = sum(model.module.get_submodule(name).weight.numel() for name in names)
    whole, stored = narrowed(model.module, found, [1.0] * len(found.influence))
    assert stored == everything
    with replaced(model.module, whole):  # nothing taken away: the model as it was
        for name, ratio in judge.ratios().items():
            assert abs(math.log(ratio["value"])) < 1e-3, (name, ratio)
    for share in SHARES:
        for way in WAYS:
            if rows.has(method="MoDeGPT", ranks=way, share=share):
                continue
            weights, stored = narrowed(
                model.module, found, block_shares(found.influence, share, allocated=way == "allocated")
            )
            with replaced(model.module, weights):
                ratios = judge.ratios()
            rows.add(method="MoDeGPT", form="narrowed", ranks=way, share=share, kept=stored / everything, ratios=ratios)


def measure_own(prepared: PreparedModel, kinds: list[Text], rows: Rows) -> None:
    """Measure ``theorykit compress``, its files' numbers rounded to nothing, with its predicted KL."""
    for share in SHARES:
        if rows.has(method="theorykit compress", share=share):
            continue
        _, report = compress_prepared(prepared, budget=share, judged_on=kinds)
        losses = {loss.text: loss for loss in report.losses}
        ratios = {
            name: {part: getattr(losses[name].ratio, part) for part in ("value", "low", "high")} for name in JUDGED
        }
        kl = {
            name: {part: getattr(loss.kl, part) for part in ("value", "low", "high")} for name, loss in losses.items()
        }
        rows.add(
            method="theorykit compress",
            form="gauge-free",
            ranks="allocated",
            share=share,
            kept=report.share,
            ratios=ratios,
            kl=kl,
            predicted_kl=report.predicted_kl,
        )


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Measure all methods on one model."""
    model = load_language_model(name, device="cpu")
    prepared = prepare_compression(model, settings=CompressionSettings(seed=SEED))
    kinds = judged_texts(folder)
    judge = Judge(model, kinds, prepared.settings.sizes)
    rows = Rows(folder / f"compression-{Path(name).name}.json")
    measure_own(prepared, kinds, rows)
    names = [part.name for part in prepared.priced]
    tokens = torch.cat([kind.moments for kind in prepared.pieces])
    del prepared
    found = collect(model.module, names, list(model.module.model.layers), tokens, SEED)
    measure_narrowing(model, names, found, judge, rows)
    measure_low_rank(model, names, found, judge, rows, tokens[:1])
    perplexities = {kind: math.exp(float(np.mean(entropies))) for kind, entropies in judge.dense.items()}
    return {
        "model": name,
        "dense_perplexity": perplexities,
        "token_sha256": judge.hashes(),
        "calibration_tokens": tokens.numel(),
        "rows": rows.rows,
    }


def titled(row: dict[str, Any]) -> str:
    """Return what a method is called."""
    return f"{row['method']}, {row['ranks']}, {row['form']}"


def table(result: dict[str, Any]) -> str:
    """Return the multiples of the dense perplexity of all methods at all shares, the three texts one behind another."""
    from theorykit.tables import markdown_cells

    titles = list(dict.fromkeys(titled(row) for row in result["rows"]))
    body = []
    for title in titles:
        cells = [title]
        for share in SHARES:
            own = [row for row in result["rows"] if titled(row) == title and row["share"] == share]
            cells.append(", ".join(_short(own[0]["ratios"][name]["value"]) for name in JUDGED) if own else "–")
        body.append([f"**{cell}**" for cell in cells] if title.startswith("theorykit") else cells)
    columns = ("method, ranks, stored as", *(f"{share:.0%} of the numbers" for share in SHARES))
    return markdown_cells(columns, body, tight=True)


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}" if ratio < 1e4 else "> 10⁴"


def figure(result: dict[str, Any], file: Path) -> None:
    """Draw the perplexity over the share, a panel for each text, the best form and ranks of every method."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(JUDGED), figsize=(10, 3.6), sharey=True, layout="constrained")
    methods = list(dict.fromkeys(row["method"] for row in result["rows"]))
    for panel, name in zip(panels, JUDGED, strict=True):
        for method in methods:
            ratios = []
            for share in SHARES:
                own = [
                    row["ratios"][name]["value"]
                    for row in result["rows"]
                    if row["method"] == method and row["share"] == share
                ]
                ratios.append(min(own, default=math.nan))
            style = {"linewidth": 2.4, "color": "black"} if method.startswith("theorykit") else {"linewidth": 1.2}
            panel.plot(SHARES, ratios, marker="o", markersize=3, label=method, **style)
        panel.set(xlabel="share of the linear numbers", title=name, yscale="log", ylim=(0.95, 100))
        panel.invert_xaxis()
    panels[0].set_ylabel("perplexity, multiple of the dense")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and record, or show the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of the texts, from make texts")
    parser.add_argument("--model", default="smollm2", help="a Llama-style model")
    parser.add_argument("--table", action="store_true", help="print the table of the record")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the record")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        record.save("compression", measure(arguments.model, arguments.folder), seeds=[SEED])
        return
    result = json.loads((record.RESULTS / "compression.json").read_text(encoding="utf-8"))["result"]
    if arguments.table:
        print(table(result))
    if arguments.figure:
        figure(result, arguments.figure)


if __name__ == "__main__":
    main()
