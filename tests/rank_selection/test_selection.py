from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from theorykit import bundled_spectra
from theorykit.errors import InputError
from theorykit.models.model_spectra import LossAnchor
from theorykit.rank_selection import RULE_KEYS, RULES, degrees_of_freedom, estimation_loss, select_ranks
from theorykit.rank_selection.budget import cost_per_parameter
from theorykit.rank_selection.selection import saving_ranks, tail_losses

from .synthetic import calibration, gpt2_small, layer_spectra, model, small_model

BENDING_ANCHORS = (LossAnchor(0.9, 1e-3, 2e-3), LossAnchor(0.5, 1e-2, 12e-3))


@pytest.fixture(scope="module")
def gpt2():
    return gpt2_small()


def best_of_all(spectra, selection, multiple: int) -> float:
    """The least predicted loss within the budget, over every choice: approximation plus estimation."""
    least = np.inf
    options = []
    for part in spectra.factorable:
        tail, layer = tail_losses(part, in_nats=True), part.layer
        unit = cost_per_parameter(layer, selection.budget.unit)
        factored = [
            (rank * layer.parameters_per_rank * unit, tail[int(rank)], float(degrees_of_freedom(layer.shape, rank)))
            for rank in saving_ranks(layer.shape, multiple)
        ]
        options.append([*factored, (layer.parameters * unit, 0.0, layer.parameters)])
    for choice in product(*options):
        cost, raw, freedom = np.sum(choice, axis=0)
        if cost <= selection.budget.limit * (1 + 1e-12):
            kl = spectra.calibration.calibrated_loss(raw)
            noise = selection.objective.noise_share(kl)
            least = min(least, kl + float(estimation_loss(freedom, selection.samples.n_tokens, noise)))
    return least


def test_hand_count_of_gpt2_small(gpt2):
    """12 × (768→2304, 768→768, 768→3072, 3072→768): 12 × 12,288 per unit of rank."""
    assert sum(part.layer.parameters_per_rank for part in gpt2.factorable) == 147_456
    assert gpt2.linear_parameters == 12 * (768 * 2304 + 768 * 768 + 2 * 768 * 3072) == 84_934_656
    found = select_ranks(gpt2, 1e5, rule="paper-section6")
    assert found.embedding_parameters == 50257 * 768 + 1024 * 768 == 39_383_808
    assert found.dense_parameters == 84_934_656
    assert set(found.ranks.values()) == {32}
    assert found.parameters == 32 * 147_456
    assert found.deployed_parameters == 32 * 147_456 + 39_383_808


@pytest.mark.parametrize(
    ("key", "rank"), [("paper-eq17", 316), ("paper-section6", 32), ("theorem2", 18), ("corrected", 74)]
)
def test_the_papers_rules_give_one_rank_to_all(gpt2, key, rank):
    found = select_ranks(gpt2, 1e5, rule=key)
    assert found.rule == key
    assert set(found.ranks.values()) == {rank}
    assert len(found.layers) == 48
    summary = next(entry for entry in found.rules if entry.key == key)
    assert summary.ranks == (rank,) * 48
    assert (summary.parameters, summary.share) == (found.parameters, pytest.approx(found.share))
    assert summary.second_order_loss == pytest.approx(sum(part.second_order_loss for part in found.layers))


def test_break_even_is_where_factoring_stops_to_save(gpt2):
    """√n = 500: past 384 for 768², below 576 for c_attn and 614.4 for the MLP."""
    found = select_ranks(gpt2, 250_000, rule="paper-eq17")
    dense = [part for part in found.layers if part.rank is None]
    assert {part.shape for part in dense} == {(768, 768)}
    assert len(dense) == 12
    assert all(part.reason and part.truncation_error == 0 and part.share == 1 for part in dense)
    assert found.parameters == 12 * (768 * 768 + 500 * (3072 + 3840 + 3840))
    assert next(entry for entry in found.rules if entry.key == "paper-eq17").dense_layers == 12
    assert not any(part.reason for part in found.layers if part.rank is not None)
    assert any("cheaper dense" in note and "√n (12 of 48)" in note for note in found.notes)


def test_a_rank_at_the_break_even_saves_nothing(gpt2):
    """768 × 768 has its break-even at exactly 384 = √147,456."""
    at, below = (select_ranks(gpt2, n, rule="paper-eq17") for n in (384**2, 383**2))
    assert {part.rank for part in at.layers if part.shape == (768, 768)} == {None}
    assert {part.rank for part in below.layers if part.shape == (768, 768)} == {383}
    assert saving_ranks((768, 768), 8)[-1] == 376
    assert saving_ranks((768, 768), 1)[-1] == 383
    assert saving_ranks((8, 8), 8).size == 0


def test_saturation_is_counted_and_said(gpt2):
    found = select_ranks(gpt2, 1e6, rule="paper-eq17")
    assert next(entry for entry in found.rules if entry.key == "paper-eq17").saturated_layers == 48
    assert found.ranks == {}
    assert found.share == 1.0
    assert any(note.startswith("Saturated at min(m, n)") and "paper eq 17" in note for note in found.notes)
    assert any("Nothing is factored" in warning for warning in found.warnings)


def test_the_contradiction_of_the_paper_is_said(gpt2):
    notes = " ".join(select_ranks(gpt2, 1e5).notes)
    assert "√n = 316" in notes
    assert "√n/10 = 31.6" in notes
    assert "n^¼ = 17.8" in notes
    assert "100,000 × 1,024 = 1.024e+08 tokens" in notes


@pytest.mark.parametrize("rule", RULE_KEYS)
@pytest.mark.parametrize("calibrated", [True, False])
def test_every_rule_gives_a_whole_selection(rule, calibrated):
    spectra = small_model() if calibrated else small_model(None)
    found = select_ranks(spectra, 1e4, rule=rule, rank_multiple=1)
    assert found.rule == rule
    assert [entry.key for entry in found.rules] == [*(entry.key for entry in RULES), "common-price"]
    assert (found.approximation_loss is not None) is calibrated
    for part, layer in zip(found.layers, spectra.factorable, strict=True):
        if part.rank is None:
            assert part.parameters == layer.layer.parameters
        else:
            assert 1 <= part.rank < layer.layer.break_even
            assert part.parameters == part.rank * sum(part.shape) < layer.layer.parameters
            assert part.truncation_error == pytest.approx(layer.spectrum.truncation_errors[part.rank])
            assert part.relative_error == pytest.approx(part.truncation_error / layer.spectrum.frobenius_norm)


@pytest.mark.parametrize("multiple", [1, 8, 32])
@pytest.mark.parametrize("budget", [0.9, 0.5, 0.1, "12.4M", "0.05GFLOP"])
def test_ranks_are_multiples_and_within_the_budget(gpt2, budget, multiple):
    found = select_ranks(gpt2, 1e5, budget=budget, rank_multiple=multiple)
    assert all(rank % multiple == 0 and rank > 0 for rank in found.ranks.values())
    cost = found.parameters * (2 if found.budget.unit == "flop" else 1)
    assert cost <= found.budget.limit
    step = multiple * 3840 * (2 if found.budget.unit == "flop" else 1)
    assert found.binding == "budget"
    assert cost > found.budget.limit - step
    assert found.optimality_gap < 2e-3
    assert found.price > 0


@pytest.mark.parametrize("objective", ["kd", "lm", "mixed"])
@pytest.mark.parametrize("budget", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("n", [30, 1e3, 1e5])
def test_the_choice_is_the_best_of_all_where_the_scale_is_linear(objective, budget, n):
    spectra = small_model()
    found = select_ranks(spectra, n, unit="tokens", objective=objective, budget=budget, rank_multiple=1)
    assert found.optimal
    total = found.approximation_loss + found.estimation_loss
    assert total == pytest.approx(best_of_all(spectra, found, 1), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("objective", ["kd", "lm", "mixed"])
@pytest.mark.parametrize("n", [30, 300, 1e3, 1e5])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
def test_the_choice_on_a_bent_scale(objective, n, scale):
    """Whatever decides, it is the best of all, found by enumeration."""
    spectra = small_model(BENDING_ANCHORS, scale=scale)
    found = select_ranks(spectra, n, unit="tokens", objective=objective, rank_multiple=2)
    total, least = found.approximation_loss + found.estimation_loss, best_of_all(spectra, found, 2)
    assert total == pytest.approx(least, rel=1e-9)
    assert found.optimal


def test_the_gradient_of_the_noise_of_soft_targets_counts():
    """At KL near ½ a truncation also raises the noise of all that is left: the rank must not collapse for it."""
    layers = [layer_spectra(f"h.{index}.fc", (256, 192), 0.4 + 0.02 * index, scale=0.05) for index in range(12)]
    spectra = model(*layers)
    free, tight = (select_ranks(spectra, n, unit="tokens", budget=0.8) for n in (1e9, 4e5))
    assert free.approximation_loss < 0.5
    assert tight.approximation_loss + tight.estimation_loss <= free.approximation_loss + float(
        estimation_loss(
            sum(
                float(degrees_of_freedom(part.shape, part.rank)) if part.rank else part.parameters
                for part in free.layers
            ),
            4e5,
            tight.objective.noise_share(free.approximation_loss),
        )
    )


def test_labels_fewer_samples_never_give_more_parameters(gpt2):
    counts = [
        select_ranks(gpt2, n, unit="tokens", objective="lm", budget=1).parameters for n in np.geomspace(1e5, 1e12, 15)
    ]
    assert (np.diff(counts) >= 0).all()
    assert counts[0] < 0.2 * gpt2.linear_parameters
    assert counts[-1] > 0.9 * gpt2.linear_parameters


def test_labels_say_who_decides(gpt2):
    few, many = (select_ranks(gpt2, n, objective="lm", budget=0.8) for n in (1e3, 1e9))
    assert (few.binding, many.binding) == ("samples", "budget")
    assert any("here n decides" in note for note in few.notes)
    assert any("here the budget decides" in note for note in many.notes)
    assert few.parameters < many.parameters


def test_distillation_the_budget_decides(gpt2):
    found = [select_ranks(gpt2, n, budget=0.5) for n in (1e6, 1e8, 1e10)]
    assert found[0].ranks == found[1].ranks == found[2].ranks
    assert {entry.binding for entry in found} == {"budget"}
    assert found[0].estimation_loss > found[1].estimation_loss > found[2].estimation_loss
    assert found[-1].estimation_loss < 1e-3 * found[-1].approximation_loss
    assert any("the budget decides the rank, not n" in note for note in found[0].notes)
    shares = [select_ranks(gpt2, 1e6, budget=budget).share for budget in (0.4, 0.6)]
    assert shares == pytest.approx([0.4, 0.6], abs=1e-3)


def test_more_budget_never_costs_predicted_loss(gpt2):
    losses = [select_ranks(gpt2, 1e9, budget=share).approximation_loss for share in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert (np.diff(losses) < 0).all()
    assert losses[-1] == 0.0


def test_the_unit_of_n_only_moves_the_tokens(gpt2):
    one = select_ranks(gpt2, 1000, unit="sequences", seq_len=512, objective="lm")
    other = select_ranks(gpt2, 512_000, unit="tokens", objective="lm")
    assert one.ranks == other.ranks
    assert one.estimation_loss == pytest.approx(other.estimation_loss)
    eq17 = [next(entry for entry in found.rules if entry.key == "paper-eq17") for found in (one, other)]
    assert eq17[0].ranks != eq17[1].ranks


def test_without_calibration_the_relative_errors_decide():
    found = select_ranks(small_model(None), 1e5, budget=0.5, rank_multiple=1)
    assert (found.approximation_loss, found.calibration, found.binding) == (None, None, "budget")
    assert all(part.second_order_loss is None for part in found.layers)
    assert any("Without calibration text" in warning for warning in found.warnings)
    tails = [tail_losses(part, in_nats=False) for part in small_model(None).factorable]
    assert all(tail[0] == 1.0 and tail[-1] == 0.0 for tail in tails)


@pytest.mark.parametrize(("objective", "noise"), [("kd", 1.0), ("mixed", 1.0), ("lm", 1.0)])
def test_without_calibration_the_estimation_is_an_upper_bound(objective, noise):
    found = select_ranks(small_model(None), 1e5, unit="tokens", objective=objective, rank_multiple=1)
    freedom = sum(
        float(degrees_of_freedom(part.shape, part.rank)) if part.rank else part.parameters for part in found.layers
    )
    assert found.estimation_loss == pytest.approx(noise * freedom / 2e5)


def test_nats_and_relative_errors_are_never_mixed():
    """One layer without a whitened spectrum: all layers are weighed by what all of them have."""
    parts = [layer_spectra("a", (40, 30), 1.0, scale=1e-6), layer_spectra("b", (40, 30), 1.0)]
    found = select_ranks(model(*parts), 1e4, budget=0.6, rank_multiple=1)
    assert found.approximation_loss is None
    assert abs(found.layers[0].parameters - found.layers[1].parameters) <= 70


def test_zero_matrices_and_small_layers():
    zero = layer_spectra("zero", (20, 20), 1.0)
    object.__setattr__(zero, "spectrum", type(zero.spectrum)(np.zeros(20), (20, 20)))
    found = select_ranks(model(zero, layer_spectra("tiny", (3, 2)), anchors=None), 100, budget=0.9)
    assert found.rank_multiple == 1
    assert found.layers[0].rank == 1
    assert (found.layers[0].relative_error, found.layers[0].stable_rank, found.layers[0].decay_exponent) == (0, 0, None)


def test_a_layer_without_a_rank_that_saves_stays_dense():
    found = select_ranks(model(layer_spectra("square", (8, 8)), layer_spectra("wide", (128, 128)), anchors=None), 100)
    assert found.rank_multiple == 8
    assert found.layers[0].rank is None


@pytest.mark.parametrize(("width", "multiple"), [(32, 8), (16, 4), (8, 2), (4, 1), (2, 1)])
def test_the_default_multiple_lets_nearly_all_layers_save(width, multiple):
    found = select_ranks(model(layer_spectra("square", (width, width)), anchors=None), 100, budget=1)
    assert found.rank_multiple == multiple


def test_operations_count_a_shared_expert_by_its_use():
    parts = [layer_spectra(f"experts.{share}", (64, 64), kind="expert", active_share=share) for share in (1.0, 0.125)]
    found = select_ranks(model(*parts, anchors=None), 1e4, budget=f"{0.5 * 2 * 4096 * 1.125:.0f}FLOP", rank_multiple=1)
    assert found.layers[0].rank is not None
    assert found.layers[1].parameters > found.layers[0].parameters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n = 0 has to be finite and above 0"),
        ({"n": -1}, "n = -1"),
        ({"n": float("nan")}, "n = nan"),
        ({"unit": "words"}, "unit = 'words' is not known"),
        ({"seq_len": 0}, "seq_len = 0"),
        ({"objective": "clone"}, "objective = 'clone' is not known"),
        ({"budget": "half"}, "budget 'half' is not understood"),
        ({"budget": 0}, "budget 0 is not above 0"),
        ({"budget": "900M"}, "is larger than the model"),
        ({"budget": "10"}, "the budget 10 is below"),
        ({"rank_multiple": 0}, "rank multiple = 0"),
        ({"rank_multiple": 2.5}, r"rank multiple = 2\.5 is not a whole number"),
        ({"rank_multiple": 9}, r"rank multiple = 9 is larger than min\(m, n\) = 8 of h\.1\.fc"),
        ({"rule": "thm3"}, "rule 'thm3' is not known"),
    ],
)
def test_arguments_are_named_in_errors(given, message):
    with pytest.raises(InputError, match=message):
        select_ranks(small_model(), **({"n": 1000} | given))


@pytest.mark.parametrize("rule", [rule.key for rule in RULES])
def test_a_rule_that_ignores_the_budget_stands_beside_one_that_nothing_fits(rule):
    found, easy = (select_ranks(small_model(), 1000, rule=rule, budget=budget) for budget in ("10", 0.9))
    assert found.ranks == easy.ranks
    assert [entry.key for entry in found.rules] == [entry.key for entry in RULES]
    assert (found.price, found.optimal, found.binding) == (0.0, False, "rule")
    assert any("No row 'common-price'" in note for note in found.notes)
    assert not any("No row" in note for note in easy.notes)


@pytest.mark.parametrize("objective", ["kd", "lm", "mixed"])
def test_every_rule_shows_what_its_estimation_costs(objective):
    """The same two terms for all rules, so that the own choice can be compared: none within the budget does better."""
    spectra = small_model()
    found = select_ranks(spectra, 300, unit="tokens", objective=objective, budget=0.7, rank_multiple=1)
    own = found.rules[-1]
    assert (own.predicted_loss, own.estimation_loss) == (found.approximation_loss, found.estimation_loss)
    for entry in found.rules:
        kept = [part.rank for part in select_ranks(spectra, 300, unit="tokens", rule=entry.key, budget=0.7).layers]
        if entry is not own:
            freedom = sum(
                float(degrees_of_freedom(part.layer.shape, rank)) if rank else part.layer.parameters
                for part, rank in zip(spectra.factorable, kept, strict=True)
            )
            noise = found.objective.noise_share(entry.predicted_loss)
            assert entry.estimation_loss == pytest.approx(noise * freedom / 600)
        if entry.parameters <= found.budget.limit:
            assert entry.total_loss >= own.total_loss * (1 - 1e-12)
    without = select_ranks(small_model(None), 300, rank_multiple=1)
    assert {(entry.estimation_loss, entry.total_loss) for entry in without.rules} == {(None, None)}


def test_a_model_of_embeddings_has_nothing_to_factor():
    with pytest.raises(InputError, match="made up has no linear layer that can be factored"):
        select_ranks(model(layer_spectra("wte", (50, 8), kind="embedding")), 100)


def test_warnings_of_the_measured_scale():
    wide = (LossAnchor(0.9, 1e-3, 2e-3), LossAnchor(0.3, 2e-2, 4e-2))
    assert not select_ranks(small_model(wide), 1e9, budget=0.6, rank_multiple=1).warnings
    for budget in (0.999, 0.4):
        found = select_ranks(small_model(wide), 1e9, budget=budget, rank_multiple=1)
        raw = sum(part.second_order_loss for part in found.layers)
        outside = not 0.99e-3 <= raw <= 2.02e-2
        assert any("extrapolated" in warning for warning in found.warnings) == (outside and raw > 0)
        assert found.rules[-1].extrapolated == (outside and raw > 0)
    falling = select_ranks(
        small_model((LossAnchor(0.9, 1e-3, 2e-3), LossAnchor(0.5, 1e-2, 1e-3))), 1e9, rank_multiple=1
    )
    assert any("not measured at two rising points" in warning for warning in falling.warnings)
    unmeasured = model(*small_model().layers, anchors=())
    assert any(
        "scale of the predicted loss was not measured" in text
        for text in select_ranks(unmeasured, 1e9, rank_multiple=1).warnings
    )
    assert calibration(()).calibrated_loss(0.3) == 0.3
    few = select_ranks(small_model(), 50, unit="tokens", objective="lm", budget=0.6, rank_multiple=1)
    assert any("parameters per training token" in warning for warning in few.warnings)


def test_without_n_the_budget_decides_and_rules_of_n_are_left_out():
    spectra = bundled_spectra()
    selection = select_ranks(spectra)
    assert selection.samples is None
    assert selection.estimation_loss == 0
    assert selection.binding == "budget"
    assert [rule.key for rule in selection.rules if rule.key.startswith(("paper", "theorem", "corrected"))] == []
    assert selection.rules[-1].key == "common-price"
    assert selection.to_dict()["samples"] is None
    # as many samples as one likes cost nothing either
    assert selection.ranks == select_ranks(spectra, 1e15).ranks
    with pytest.raises(InputError, match="'paper-eq17' looks at n, and no n is given"):
        select_ranks(spectra, rule="paper-eq17")
