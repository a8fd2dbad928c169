"""MoDeGPT (Lin et al. 2024, arXiv 2408.09632): modules made narrower together, by three decompositions.

- MLP, Nyström: intermediate channels of the largest ridge leverage score are kept, and the down projection is changed
  so that it makes the best of them (their Algorithm 1).
- Queries and keys, CR: dimensions of the largest product of norms are kept. With rotary positions a dimension can
  only go with its partner, and with grouped queries the heads of a group share the choice.
- Values and outputs, SVD: of the product of a group's maps, in the norm of the inputs.

A narrowed module computes the same as the module of full width with zeros in its place, which is how it is run here.
"""

from __future__ import annotations

import torch

from rivals.low_rank import root_and_inverse
from rivals.moments import ModelMoments

_LEVERAGE_RIDGE = 1e-2  # of the mean diagonal
_TEMPERATURE = 0.1
_LEAST_SHARE = 0.05


def block_shares(influence: list[float], share: float, *, allocated: bool) -> list[float]:
    """Return the share that each block keeps: all the same, or by softmax of the Block Influence (their eq 9)."""
    count, temperature = len(influence), _TEMPERATURE
    if not allocated:
        return [share] * count
    scores = -torch.tensor(influence, dtype=torch.float64)
    while True:
        removed = count * (1 - share) * torch.softmax(scores / temperature, 0)
        if float(removed.max()) <= 1 - _LEAST_SHARE:
            return [1 - float(part) for part in removed]
        temperature *= 1.5  # some block would vanish


def narrowed(
    module: torch.nn.Module, moments: ModelMoments, shares: list[float]
) -> tuple[dict[str, torch.Tensor], int]:
    """Return new weights of the linear layers by name, and the numbers that the narrowed model stores.

    Args:
        module: A Llama-style model (``model.layers.i.self_attn.q_proj`` …).
        moments: Of it.
        shares: Of each block, in (0, 1].
    """
    config = module.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    weights: dict[str, torch.Tensor] = {}
    stored = 0
    for index, share in enumerate(shares):
        prefix = f"model.layers.{index}."

        def w(name: str, prefix: str = prefix) -> torch.Tensor:
            return module.get_submodule(prefix + name).weight.detach().double()

        # MLP
        hidden = moments.layers[prefix + "mlp.down_proj"].inputs
        width = hidden.shape[0]
        kept = max(1, round(share * width))
        leverage = _leverage(hidden)
        chosen = leverage.topk(kept).indices.sort().values
        mask = torch.zeros(width, dtype=torch.float64)
        mask[chosen] = 1
        inner = hidden[chosen][:, chosen]
        inner = inner + 1e-8 * inner.diagonal().mean() * torch.eye(kept, dtype=inner.dtype)
        best = torch.linalg.solve(inner, hidden[chosen]).T  # h ≈ C[:, S] C[S, S]⁻¹ h_S
        down = torch.zeros_like(w("mlp.down_proj"))
        down[:, chosen] = w("mlp.down_proj") @ (best if kept < width else torch.eye(width, dtype=torch.float64))
        for name in ("gate_proj", "up_proj"):
            weights[prefix + f"mlp.{name}"] = w(f"mlp.{name}") * mask[:, None]
            stored += kept * w(f"mlp.{name}").shape[1]
        weights[prefix + "mlp.down_proj"] = down
        stored += kept * down.shape[0]
        # attention
        inputs = moments.layers[prefix + "self_attn.q_proj"].inputs
        queries = w("self_attn.q_proj").reshape(groups, heads // groups, size, -1)
        keys = w("self_attn.k_proj").reshape(groups, size, -1)
        pairs = max(1, round(share * size / 2))
        norm_q = ((queries @ inputs) * queries).sum(-1).sum(1).sqrt()  # [groups, size]
        norm_k = ((keys @ inputs) * keys).sum(-1).sqrt()
        score = norm_q * norm_k
        score = score[:, : size // 2] + score[:, size // 2 :]
        picked = torch.zeros_like(score).scatter_(1, score.topk(pairs, dim=1).indices, 1.0)
        both = torch.cat([picked, picked], dim=1)
        weights[prefix + "self_attn.q_proj"] = (queries * both[:, None, :, None]).reshape(heads * size, -1)
        weights[prefix + "self_attn.k_proj"] = (keys * both[:, :, None]).reshape(groups * size, -1)
        stored += 2 * pairs * (heads + groups) * inputs.shape[0]
        values = w("self_attn.v_proj").reshape(groups, size, -1)
        outputs = w("self_attn.o_proj").reshape(-1, groups, heads // groups, size)
        root, inverse = root_and_inverse(inputs)
        rank = max(1, round(share * size))
        for group in range(groups):
            stacked = outputs[:, group].permute(1, 0, 2).reshape(-1, size)  # the heads of the group, one below another
            u, s, v = torch.linalg.svd(stacked @ (values[group] @ root), full_matrices=False)
            left, right = u[:, :rank] * s[:rank], v[:rank] @ inverse
            values[group] = torch.cat([right, torch.zeros(size - rank, right.shape[1], dtype=right.dtype)])
            padded = torch.cat([left, torch.zeros(left.shape[0], size - rank, dtype=left.dtype)], dim=1)
            outputs[:, group] = padded.reshape(heads // groups, -1, size).permute(1, 0, 2)
        weights[prefix + "self_attn.v_proj"] = values.reshape(groups * size, -1)
        weights[prefix + "self_attn.o_proj"] = outputs.reshape(outputs.shape[0], -1)
        stored += rank * (groups + heads) * inputs.shape[0]
    return {name: weight.float() for name, weight in weights.items()}, stored


def _leverage(moment: torch.Tensor) -> torch.Tensor:
    ridge = _LEVERAGE_RIDGE * moment.diagonal().mean() * torch.eye(moment.shape[0], dtype=moment.dtype)
    return torch.linalg.solve(moment + ridge, moment).diagonal()
