"""How smooth the loss is in the factors: an upper bound from the weights, a lower bound by Lanczos (Assumption 1).

Along (X, Y) the factored loss (P_left, P_right) ↦ L(P_left W_t P_right) has the second derivative

    ∇²L[D, D] + 2⟨∇L, X W_t Y⟩  with  D = X W_t P_right + P_left W_t Y.

Its first part grows with the square of the factors, so that no constant serves everywhere, as eq 5 assumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from theorykit.arguments import (
    Floats,
    calculation,
    checked_generator,
    positive_array,
    positive_integer,
    positive_number,
)
from theorykit.errors import ConvergenceError, InputError, NonFiniteError
from theorykit.results import Result

if TYPE_CHECKING:
    import torch

_RESIDUAL_MARGIN = 3.0
"""How many tolerances the residual measured afresh may have: float32 products are noisier than Lanczos assumes."""


def factored_smoothness_bound(
    weight_smoothness: Any, gradient_norm: Any, teacher_norm: Any, projection_norm: Any
) -> Any:
    """Bound the Hessian norm of the factored loss, 2 L_W M² B² + G M, in the spectral norm of the stacked factors.

    An upper bound at every point where the arguments bound what they name, from ‖D‖_F ≤ M B (‖X‖_F + ‖Y‖_F) and
    |⟨∇L, X W_t Y⟩| ≤ G M ‖X‖_F ‖Y‖_F. It is a Lipschitz constant of the gradient (L of Assumption 1) on a convex
    set of factors if they bound it on the whole set; there is none for all factors, since B is then infinite.
    Met with equality by ½(pq − 1)² at p = q = t for t ≥ 1, where the norm is 3t² − 1 (it is 3t² − 1 down to t = 1/√2
    and 1 − t² below that).

    For several layers M, B and G are maxima over the layers, L_W the joint smoothness in all student weights, and the
    bound holds unchanged for all factors stacked.

    Args:
        weight_smoothness: L_W ≥ 0, of the loss in the student's weights W_s (Frobenius norm); all arguments broadcast.
        gradient_norm: G ≥ 0, at least ‖∇_{W_s}L‖₂ (spectral; the Frobenius norm is never smaller).
        teacher_norm: M = ‖W_t‖₂ ≥ 0.
        projection_norm: B ≥ 0, at least the spectral norms of P_left and P_right.

    Returns:
        The bound, in the unit of the loss per squared unit of the factors; the broadcast shape.

    Raises:
        InputError: an argument outside its domain.

    Example:
        >>> t = 2.0
        >>> float(factored_smoothness_bound(1.0, t**2 - 1, 1.0, t)), 3 * t**2 - 1
        (11.0, 11.0)
    """
    smooth = positive_array("weight_smoothness", weight_smoothness, allow_zero=True)
    gradient = positive_array("gradient_norm", gradient_norm, allow_zero=True)
    norm = positive_array("teacher_norm", teacher_norm, allow_zero=True)
    projection = positive_array("projection_norm", projection_norm, allow_zero=True)
    with calculation(weight_smoothness=smooth, gradient_norm=gradient, teacher_norm=norm, projection_norm=projection):
        return 2 * smooth * norm**2 * projection**2 + gradient * norm


@dataclass(frozen=True)
class HessianEigenvalue(Result):
    """The dominant eigenvalues of the Hessian of a loss at one point.

    Attributes:
        eigenvalue: Of largest magnitude, with its sign: a Rayleigh quotient, so that its magnitude is at most ‖H‖₂.
        largest: The largest algebraically; the same where ``eigenvalue`` is positive.
        residual: ‖H v − λ v‖ / |λ| for ``eigenvalue``, measured afresh: an eigenvalue lies within residual · |λ| of it.
        n_products: Hessian-vector products used.
        n_parameters: Size of the Hessian.
    """

    eigenvalue: float
    largest: float
    residual: float
    n_products: int
    n_parameters: int

    @property
    def smoothness_lower_bound(self) -> float:
        """Return |eigenvalue|: a lower bound on L of Assumption 1, never an upper one.

        It can refute η ≤ 1/L and cannot confirm it: the Hessian is that of one point, and the Rayleigh quotient is
        below its norm.
        """
        return abs(self.eigenvalue)


class _Hessian:
    """Products of the Hessian of a scalar loss with float64 vectors, through one retained graph."""

    def __init__(self, loss: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor]) -> None:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        self._parameters = list(parameters)
        if not self._parameters or not all(entry.requires_grad for entry in self._parameters):
            raise InputError("parameters has to be a non-empty list of tensors that require gradients", "see nn.Module")
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            value = loss()
            if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
                raise InputError("loss() has to return one number that depends on the parameters", "take its mean")
            self._gradients = torch.autograd.grad(
                value.sum(), self._parameters, create_graph=True, materialize_grads=True
            )
        self._curved = [entry for entry in self._gradients if entry.requires_grad]
        self.size = sum(entry.numel() for entry in self._parameters)
        self.n_products = 0

    def __call__(self, vector: Floats) -> Floats:
        """Return H v ``[p]``."""
        import torch

        self.n_products += 1
        if not self._curved:  # a linear loss
            return np.zeros(self.size)
        flat = torch.from_numpy(np.array(vector, dtype=np.float64).ravel())
        pieces = torch.split(flat, [entry.numel() for entry in self._parameters])
        directions = [
            piece.to(entry).reshape(entry.shape)
            for piece, entry in zip(pieces, self._gradients, strict=True)
            if entry.requires_grad
        ]
        products = torch.autograd.grad(
            self._curved, self._parameters, directions, retain_graph=True, materialize_grads=True
        )
        result = np.concatenate([entry.detach().double().cpu().numpy().ravel() for entry in products])
        if not np.isfinite(result).all():
            raise NonFiniteError("a Hessian-vector product holds NaN or infinity", "check the loss and the parameters")
        return np.asarray(result, dtype=np.float64)


def _dominant(
    product: Callable[[Floats], Floats], start: Floats, tolerance: float, max_iterations: int
) -> tuple[float, float]:
    """Return the eigenvalue of largest magnitude as a Rayleigh quotient, and ‖H v − λ v‖ / |λ|.

    Raises:
        ConvergenceError: Lanczos did not converge, or what it returned is no eigenvector to the tolerance.
    """
    vector = start / np.linalg.norm(start)
    image = product(vector)
    if vector.size > 1 and image.any():  # Lanczos cannot start from a vector that H maps to 0
        operator = LinearOperator((vector.size, vector.size), matvec=product, dtype=np.float64)
        try:
            _, vectors = eigsh(operator, k=1, which="LM", v0=vector, tol=tolerance, maxiter=max_iterations)
        except ArpackNoConvergence as error:
            raise ConvergenceError(
                f"Lanczos did not reach tolerance = {tolerance} in max_iterations = {max_iterations}",
                "raise max_iterations or tolerance",
            ) from error
        vector = np.asarray(vectors[:, 0] / np.linalg.norm(vectors[:, 0]), dtype=np.float64)
        image = product(vector)
    value = float(vector @ image)
    gap = float(np.linalg.norm(image - value * vector))
    if gap > _RESIDUAL_MARGIN * tolerance * abs(value):
        raise ConvergenceError(
            f"the residual {gap:.3g} of the eigenvalue {value:.6g} is above {_RESIDUAL_MARGIN:g} tolerances",
            "use float64 parameters or a larger tolerance",
        )
    return value, gap / abs(value) if value else 0.0


def top_hessian_eigenvalue(
    loss: Callable[[], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    *,
    generator: np.random.Generator,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
) -> HessianEigenvalue:
    """Compute the Hessian eigenvalue of largest magnitude of a torch loss, in loss per squared unit of the parameters.

    Hessian-vector products by double differentiation, handed to an implicitly restarted Lanczos method (ARPACK). The
    result is a lower bound on ‖H(θ)‖₂, and that is one on L of Assumption 1. The loss is evaluated once, so that
    dropout or a random minibatch inside it is one fixed draw; ``.grad`` is left alone. Where the dominant eigenvalue λ
    is negative the largest one comes from a second run on H + |λ|·I, to an absolute accuracy of tolerance · |λ|.

    Args:
        loss: Returns one number; its graph is retained, about three times the memory of a training step.
        parameters: The tensors θ to differentiate by, as ``list(model.parameters())``.
        generator: Draws the Gaussian start, which has a part along every eigenvector with probability 1.
        tolerance: Relative, of the residual ‖H v − λ v‖; float32 parameters seldom allow less than 1e-4.
        max_iterations: Lanczos restarts, of up to 20 products each.

    Returns:
        The eigenvalues, the residual, the number of products.

    Raises:
        ConvergenceError: the tolerance was not reached; no number is returned then.
        InputError: no parameters, a loss that is no number, an argument outside its domain.
        NonFiniteError: NaN or infinity in a product.

    References:
        Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6(1); Lehoucq, Sorensen & Yang
        (1998), ARPACK users' guide, SIAM.

    Example:
        >>> import torch
        >>> x = torch.ones(3, dtype=torch.float64, requires_grad=True)
        >>> curvature = torch.tensor([1.0, -5.0, 2.0], dtype=torch.float64)
        >>> rng = np.random.default_rng(0)
        >>> found = top_hessian_eigenvalue(lambda: (curvature * x**2).sum() / 2, [x], generator=rng)
        >>> round(found.eigenvalue, 6), round(found.largest, 6)
        (-5.0, 2.0)
    """
    tolerance = positive_number("tolerance", tolerance)
    max_iterations = positive_integer("max_iterations", max_iterations, maximum=2**31 - 1)
    source = checked_generator(generator)
    hessian = _Hessian(loss, parameters)
    start = source.standard_normal(hessian.size)
    value, residual = _dominant(hessian, start, tolerance, max_iterations)
    largest = value
    if value < 0:
        shift = -value
        shifted, _ = _dominant(
            lambda vector: hessian(vector) + shift * np.ravel(vector), start, tolerance, max_iterations
        )
        largest = shifted - shift
    return HessianEigenvalue(
        eigenvalue=value,
        largest=largest,
        residual=residual,
        n_products=hessian.n_products,
        n_parameters=hessian.size,
    )
