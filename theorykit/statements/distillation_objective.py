"""Eqs 2–4: the distillation objective, its missing temperature and its clone loss without a scale."""

from __future__ import annotations

import sympy as sp

from theorykit.statements.evidence import Form, Found, Truth, computation, proof
from theorykit.statements.statement import Equation, Kind, Statement

_GAP = sp.Symbol("Delta", positive=True)
_WIDTHS = (768, 64)


def _temperature() -> tuple[bool, str]:
    """Expand KL for two classes, logit gaps Δ (teacher) and 0 (student), in u = 1/τ: log 2 − H(1/(1 + e^−Δu))."""
    inverse = sp.Symbol("u", positive=True)
    teacher = 1 / (1 + sp.exp(-_GAP * inverse))
    divergence = sp.log(2) + teacher * sp.log(teacher) + (1 - teacher) * sp.log(1 - teacher)
    terms = [sp.simplify(sp.diff(divergence, inverse, order).subs(inverse, 0)) for order in range(3)]
    held = terms[:2] == [0, 0] and sp.simplify(terms[2] / 2 - _GAP**2 / 8) == 0
    return bool(held), (
        "for two classes KL at temperature τ falls like Δ²/(8τ²), Δ the gap of the logits: without the factor τ² the "
        "KD term fades against the others as τ grows; eq 3 has neither τ nor τ², §5.1 uses τ = 2"
    )


def _scale() -> tuple[bool, str]:
    scale, teacher, student = sp.symbols("c h_t h_s", positive=True)
    ratio = sp.simplify((scale * teacher - scale * student) ** 2 / (teacher - student) ** 2)
    return bool(sp.simplify(ratio - scale**2) == 0), (
        "rescaling a hidden state by c (undone by the next layer, so that the function stays) multiplies the clone "
        "loss by c²: "
        "λ has no meaning without the widths, the number of layers and the scale of the states"
    )


def _widths() -> Found:
    teacher, student = _WIDTHS
    try:
        different = not (sp.MatrixSymbol("h_t", teacher, 1) - sp.MatrixSymbol("h_s", student, 1)).shape
    except (sp.matrices.exceptions.ShapeError, ValueError):
        different = True
    sentence = (
        f"h_t has {teacher} entries and h_s {student} where the student is narrower (reading R1 or R3): the difference "
        "does not exist; for same-width students (R2) it does"
    )
    return Found(Truth.UNDECIDED if different else Truth.PROVED, sentence, {"h_t": teacher, "h_s": student})


STATEMENT = Statement(
    slug="distillation-objective",
    label="§3.2 objective",
    title="KD, language-model and clone loss",
    kind=Kind.DEFINITION,
    equations=(
        Equation(
            key="eq-2",
            label="eq 2",
            printed="L_total = L_KD + L_LM + λ L_clone",
            corrected="the same with stated reductions (means over tokens, layers and entries)",
            checks=(proof(Form.REMARK, "λ is not scale-free", _scale),),
            kind=Kind.DEFINITION,
            remark="a definition; λ depends on the scale of the hidden states",
        ),
        Equation(
            key="eq-3",
            label="eq 3",
            printed="L_KD = KL(p_t ‖ p_s)",
            corrected="τ² KL(p_t^τ ‖ p_s^τ), p^τ the softmax of logits/τ",
            checks=(proof(Form.REMARK, "τ² keeps the scale of the KD term", _temperature),),
            kind=Kind.DEFINITION,
            remark="a definition; the temperature of §5.1 is missing",
        ),
        Equation(
            key="eq-4",
            label="eq 4",
            printed="L_clone = Σ_l ‖h_t − h_s‖² + ‖a_t − a_s‖²",
            corrected="compared through the same projection (R3), or same-width students (R2), as a mean",
            checks=(computation(Form.REMARK, "widths of teacher and student", _widths),),
            kind=Kind.DEFINITION,
            remark="undefined for the narrow students of eq 1",
        ),
    ),
    references=("Hinton, Vinyals & Dean (2015), Distilling the knowledge in a neural network, arXiv 1503.02531, §2",),
)
