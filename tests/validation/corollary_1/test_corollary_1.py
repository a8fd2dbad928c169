"""The experiment on Corollary 1: its planted part is right and notices wrong bounds; curves are read as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import theorykit as tk
from theorykit.errors import InputError
from theorykit.verdicts import Form, Instance
from validation.claims.experiment import Context
from validation.claims.factors import multiplied
from validation.claims.finding import Finding, Outcome
from validation.claims.grids import Curve, CurveSettings, GridSettings, curves_of, label_grid
from validation.claims.settings import PartSettings, read_settings
from validation.claims.trained import TrainedStudent
from validation.corollary_1 import planted
from validation.corollary_1 import students as students_part
from validation.corollary_1.experiment import EXPERIMENT
from validation.corollary_1.students import CurveLosses, curve_losses, turning_verdict
from validation.training.config import StudentConfig

TABLE = {
    "teacher": "scratch:tiny,steps=60",
    "ranks": [1, 4, 16, 64],
    "sizes": [8, 32, 128],
    "seeds": 2,
    "steps": 5,
    "length": 32,
    "sd_log": 0.35,
    "margin": 0.1,
    "underpowered": True,
    "curves": [{"objective": "distillation", "start": "random", "sizes": [32], "seeds": 1}],
}
SETTINGS = read_settings(GridSettings, TABLE)
PART = EXPERIMENT.part("students")
LABELS, SOFT = "labels, svd start", "distillation, random start"


def context(seed: int = 0) -> Context[Any]:
    return Context(PartSettings(), seed, train=lambda students: [])


def wrong(findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.outcome is not Outcome.RIGHT]


@pytest.fixture(scope="module")
def findings() -> tuple[Finding, ...]:
    return planted.planted(context()).findings


def test_the_planted_part_is_right(findings: tuple[Finding, ...]) -> None:
    assert not wrong(findings)
    equations = {finding.equation for finding in findings}
    assert equations >= {"eq-17", "corollary-1-proof", "corollary-1-decay", "correlation"}


def test_sqrt_n_is_consistent_at_one_spectrum_only(findings: tuple[Finding, ...]) -> None:
    words = {
        (finding.of["alpha"], finding.words[1])
        for finding in findings
        if (finding.equation, finding.form, finding.key) == ("eq-17", Form.PRINTED, "exponent")
    }
    assert words == {(0.75, "INCONSISTENT"), (1.0, "CONSISTENT"), (1.5, "INCONSISTENT")}


def test_the_same_seed_gives_the_same_findings(findings: tuple[Finding, ...]) -> None:
    again, other = planted.law_at(context(), 1.5)[0], planted.law_at(context(1), 1.5)[0]
    first = [finding.to_dict() for finding in findings]
    assert all(finding.to_dict() in first for finding in again)
    assert [finding.measured for finding in other[:4]] != [finding.measured for finding in again[:4]]


def test_its_plans_have_power() -> None:
    assert min(planted.planned_power().values()) > 0.95


def _scaled_law(factor: float, field: str) -> Callable[..., Any]:
    original = tk.spectrum_law
    return lambda alpha: replace(original(alpha), **{field: factor * getattr(original(alpha), field)})


NOTICED_BY: dict[str, Callable[[], list[Finding]]] = {
    "optimal_rank": planted.algebra,
    "estimation_loss": lambda: planted.estimation(context()),
    "tail_energies": lambda: planted.spectra(context()),
    "truncation_errors": lambda: planted.spectra(context()),
}


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", EXPERIMENT.bounds)
def test_a_wrong_bound_is_noticed(name: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tk, name, multiplied(getattr(tk, name), factor), raising=False)
    assert wrong(NOTICED_BY[name]())


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("field", ["approximation", "complexity", "samples"])
def test_a_wrong_law_is_noticed(field: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tk, "spectrum_law", _scaled_law(factor, field), raising=False)
    assert wrong(planted.law_at(context(), 1.0)[0])


def test_a_short_triangular_factor_is_a_tall_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The risk agrees with regressions whose noise is drawn in full."""
    p, q, alpha, rows = 60, 6, 1.0, np.array([600.0])
    monkeypatch.setattr(planted, "N_INPUTS", p)
    monkeypatch.setattr(planted, "N_OUTPUTS", q)
    generator = np.random.default_rng(0)
    short = np.mean([planted.planted_risks(alpha, rows, 1.0, generator).population[0] for _ in range(1000)], axis=0)
    truth = np.zeros((p, q))
    truth[:q] = np.diag(np.arange(1.0, q + 1) ** -alpha)
    noise = generator.standard_normal((1000, p, q)) / np.sqrt(rows)
    left, values, right = np.linalg.svd(truth + noise, full_matrices=False)
    full = [
        np.square((left[..., :rank] * values[:, None, :rank]) @ right[:, :rank] - truth).sum(axis=(1, 2)).mean()
        for rank in range(1, q + 1)
    ]
    np.testing.assert_allclose(short, full, rtol=0.02)


def test_the_grid_of_the_labels_comes_first_and_is_that_of_the_part() -> None:
    grid, students = label_grid(SETTINGS, 3), PART.students(SETTINGS, 3)
    assert len(grid) == 4 * 3 * 2
    assert {config.identity for config in grid} < {config.identity for config in students}
    assert len(students) == len(grid) + 4
    assert {config.method for config in grid} == {"finetune"}
    assert grid[0].measurements == ("loss_terms",)
    assert [config.seed for config in grid[::12]] == [3000, 3001]
    assert [config.rank for config in students] == sorted(config.rank for config in students)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ranks": [4, 1, 16]}, "ranks"),
        ({"ranks": [4, 16]}, "increasing"),
        ({"curves": [{"objective": "hopes", "start": "svd"}]}, "objective"),
        ({"curves": [{"objective": "mix", "start": "svd", "begin": "svd"}]}, "begin"),
        ({"curves": [{"objective": "mix", "start": "whitened"}]}, "start"),
    ],
)
def test_bad_curves_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        curves_of(read_settings(GridSettings, TABLE | change), 0)
    assert "\n" not in caught.value.message


def _curve(n_seeds: int = 8) -> Curve:
    return Curve("labels", "svd", (1, 4, 16, 64), (8, 32, 128), tuple(range(n_seeds)))


def test_a_curve_that_turns_is_told_from_one_that_falls() -> None:
    means = np.array([[3.0, 2.5, 2.8, 3.2], [3.0, 2.8, 2.6, 2.5], [2.5, 2.6, 2.8, 3.0]])
    values = means + 0.01 * np.random.default_rng(0).standard_normal((8, 3, 4))
    losses = CurveLosses(_curve(), values, values, 0)
    verdicts = [turning_verdict(losses, number, 64, 0.05).instance for number in range(3)]
    assert verdicts == [Instance.HOLDS, Instance.NOT_APPLICABLE, Instance.NOT_APPLICABLE]
    assert losses.optima(losses.end)[0].tolist() == [4, 64, 1]


def test_flat_curves_seldom_turn() -> None:
    """The best of several inner ranks looks better than the ends by luck; Holm's correction keeps that below alpha."""
    generator, turned = np.random.default_rng(5), 0
    for _ in range(200):
        values = generator.standard_normal((8, 3, 4))
        turned += turning_verdict(CurveLosses(_curve(), values, values, 0), 0, 64, 0.05).instance is Instance.HOLDS
    assert turned <= 17  # 99.5 % quantile of Binomial(200, 0.05)


def test_noise_of_the_ends_does_not_hide_a_curve_that_turns() -> None:
    """The lower of two ends is below both means by luck: an inner rank that is better than both must not look worse."""
    generator, hidden = np.random.default_rng(7), 0
    curve = Curve("labels", "svd", (1, 8, 64), (32,), tuple(range(24)))
    for _ in range(100):
        values = np.array([3.0, 2.99, 3.0]) + 0.05 * generator.standard_normal((24, 1, 3))
        verdict = turning_verdict(CurveLosses(curve, values, values, 0), 0, 64, 0.05)
        hidden += verdict.instance is Instance.NOT_APPLICABLE
    assert hidden <= 11  # 99.5 % quantile of Binomial(100, 0.05)


def test_losses_are_read_in_the_order_of_the_grid_and_failures_are_missing() -> None:
    settings = replace(SETTINGS, curves=())
    (curve,) = curves_of(settings, 0)

    def trained(number: int, config: StudentConfig) -> TrainedStudent:
        rows = tuple(
            {"step": step, "loss_terms": {"held_out": {"language_model": number + late}}}
            for step, late in ((0, 5.0), (3, -0.5), (5, 0.0))
        )
        return TrainedStudent(config, failure="lost" if number == 2 else "", measurements=rows)

    losses = curve_losses(curve, [trained(number, config) for number, config in enumerate(label_grid(settings, 0))])
    assert losses.end[1, 0, 0] == 12
    assert losses.end[0, 1, 3] == 7
    assert losses.best[1, 0, 0] == 11.5
    assert np.isnan(losses.end[0, 0, 2])
    assert losses.n_failed == 1
    assert np.isnan(losses.optima(losses.end)[0, 0])
    assert losses.optima(losses.end)[1].tolist() == [1, 1, 1]


def test_power_is_planned_for_curves_with_a_slope() -> None:
    assert set(PART.power(SETTINGS)) == {LABELS}


def _trained(config: StudentConfig, lost: str) -> TrainedStudent:
    """Return a student whose loss turns at rank √n / 2 under labels and falls to full rank otherwise."""
    rank, size, noise = config.rank, config.n_blocks, np.random.default_rng([config.seed, config.n_blocks])
    best = np.sqrt(size) / 2 * np.exp(0.2 * noise.standard_normal()) if config.method == "finetune" else 1e9
    loss = 2.0 + abs(np.log(rank / best)) + 1e-3 * np.random.default_rng([config.seed, rank, size]).random()
    rows = ({"step": 5, "loss_terms": {"held_out": {"language_model": loss}}},)
    return TrainedStudent(config, failure="lost" if config.identity == lost else "", measurements=rows)


def test_students_whose_optimum_is_known_are_judged_right(monkeypatch: pytest.MonkeyPatch) -> None:
    spectra = tk.bundled_spectra()
    spectra = replace(spectra, layers=spectra.layers[:8])
    monkeypatch.setattr(students_part, "teacher_spectra", lambda ctx, config: spectra)
    settings = replace(
        SETTINGS,
        ranks=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
        sizes=(32, 64, 128, 256, 512, 1024),
        seeds=8,
        margin=0.15,
        underpowered=False,
        curves=(CurveSettings(objective="distillation", start="random", sizes=(32,), seeds=4),),
    )
    last = PART.students(settings, 0)[-1].identity

    def train(students: Any) -> list[TrainedStudent]:
        return [_trained(config, last) for config in students]

    result = PART.run(Context(settings, 0, train))
    exponents = {
        (finding.of["curve"], finding.of["law"]): finding for finding in result.findings if finding.key == "exponent"
    }
    turns = {
        (finding.of["curve"], finding.of["size"]): finding for finding in result.findings if finding.key == "turns"
    }
    assert exponents[LABELS, "1/2"].words == ("HOLDS", "CONSISTENT")
    for law in ("1/4", "1/3"):
        assert "CONSISTENT" not in exponents[LABELS, law].words
    assert turns[LABELS, 128].words == ("HOLDS",)
    falling = turns[SOFT, 32]
    assert falling.verdict.instance is Instance.INCONCLUSIVE  # one of four seeds has lost a student
    assert any("1 students of this curve failed" in reason for reason in falling.verdict.reasons)
    assert not any(finding.expected for finding in result.findings)
    assert set(result.data.curves) == {LABELS, SOFT}
    labels = result.data.curves[LABELS]
    assert labels.end.shape == (8, 6, 10)
    predicted = [row.uniform for row in labels.predicted]
    assert predicted == sorted(predicted)


def test_a_plan_without_power_is_refused() -> None:
    with pytest.raises(InputError, match="power"):
        PART.power(replace(SETTINGS, underpowered=False))


def test_data_without_labels_or_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="no curve is of labels"):
        students_part.StudentsData(64, (1.0,), {})
    empty = np.zeros((1, 1, 0))
    with pytest.raises(InputError, match="seeds, sizes and ranks"):
        students_part.CurveData("labels", "svd", (), (8,), (0,), empty, empty, np.zeros((1, 1)), np.zeros((1, 1)), ())
