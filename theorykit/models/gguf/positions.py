"""Rotary positions of a GGUF file: base, width and stretching, put back into the configuration of transformers.

transformers reads a GGUF file without its stretching: linear, YaRN and LongRoPE scaling and the divisors that stand for
that of Llama 3.1 are dropped without a word, and the model attends at other angles than it was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from theorykit.errors import NotRunnableError
from theorykit.models.locations import WEIGHTS_ALONE

_CLOSE = 1e-5
"""Relative difference below which two divisors, stored in float32, are the same."""
_NO_ROTATION = 1e20
"""From this divisor on a pair of dimensions is not turned at all."""
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Of Llama 3.1 to 3.3; a file holds the divisors that follow from them."""
_HINT = WEIGHTS_ALONE


@dataclass(frozen=True)
class Stretching:
    """How a file stretches positions.

    Attributes:
        kind: ``none``, ``linear``, ``yarn``, ``longrope``, or what else the file calls it.
        factor: How many times longer than in training, or 0 where the file does not say.
        original_length: Positions in training, or 0.
        numbers: What else ``rope.scaling`` says, by its name in the file.
        divisors: Of each pair of dimensions' frequency (``rope_freqs``), short and long ones (``rope_factors``).
    """

    kind: str
    factor: float = 0.0
    original_length: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    divisors: Mapping[str, Sequence[float]] = field(default_factory=dict)


def read_stretching(metadata: Mapping[str, Any], divisors: Mapping[str, Sequence[float]]) -> Stretching:
    """Read what a file says of stretched positions.

    Args:
        metadata: Keys without the name of the architecture (``rope.scaling.type``), and their values.
        divisors: Tensors ``rope_freqs``, ``rope_factors_short`` and ``rope_factors_long`` where the file has them.
    """
    scaling = {key.removeprefix("rope.scaling."): value for key, value in metadata.items() if "rope.scaling." in key}
    factor = float(scaling.pop("factor", 0.0) or metadata.get("rope.scale_linear", 0.0) or 0.0)
    # llama.cpp takes a factor without a type as linear
    kind = str(scaling.pop("type", "linear" if factor else "none"))
    original_length = int(scaling.pop("original_context_length", 0))
    scaling.pop("finetuned", None)
    return Stretching(
        kind, factor, original_length, {key: float(value) for key, value in scaling.items()}, dict(divisors)
    )


def restore_positions(config: Any, metadata: Mapping[str, Any], divisors: Mapping[str, Sequence[float]]) -> None:
    """Put base, width and stretching of a file's rotary positions into ``config.rope_parameters``.

    Args:
        config: Of the text model, as transformers reads it from the file; changed in place.
        metadata: As for :func:`read_stretching`.
        divisors: As for :func:`read_stretching`.

    Raises:
        NotRunnableError: the file stretches positions in a way that transformers does not know.
    """
    stretching = read_stretching(metadata, divisors)
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, dict) or not parameters:
        if stretching.divisors or stretching.kind != "none":
            raise _refusal(stretching, "the model has no rotary positions")
        return
    # layers with a sliding window keep their own base and are not stretched
    whole = parameters.get("full_attention", parameters)
    if "rope.freq_base" in metadata:
        whole["rope_theta"] = float(metadata["rope.freq_base"])
    windowed = parameters.get("sliding_attention")
    if isinstance(windowed, dict) and "rope.freq_base_swa" in metadata:
        windowed["rope_theta"] = float(metadata["rope.freq_base_swa"])
    turned = int(metadata.get("rope.dimension_count", 0))
    if turned and whole is parameters:
        width = int(getattr(config, "head_dim", 0) or config.hidden_size // config.num_attention_heads)
        if turned != int(width * whole.get("partial_rotary_factor", 1.0)):
            whole["partial_rotary_factor"] = turned / width
            if hasattr(config, "partial_rotary_factor"):
                config.partial_rotary_factor = turned / width
    whole.update(_rope_parameters(stretching, config, whole))
    if hasattr(config, "original_max_position_embeddings") and stretching.original_length:
        config.original_max_position_embeddings = stretching.original_length


def _rope_parameters(stretching: Stretching, config: Any, current: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to change in the rope parameters; nothing where positions are not stretched."""
    stretched: dict[str, Any] = {}
    if stretching.kind == "linear" and stretching.factor not in (0.0, 1.0):
        stretched = {"rope_type": "linear", "factor": stretching.factor}
    elif stretching.kind == "yarn":
        stretched = _yarn(stretching, config)
    elif stretching.kind == "longrope" or "rope_factors_long" in stretching.divisors:
        stretched = _longrope(stretching, config)
    elif stretching.kind not in ("none", "linear"):
        raise _refusal(stretching, "transformers does not know it")
    if stretched.get("rope_type") in (None, "linear") and stretching.numbers.get("attn_factor", 1.0) != 1.0:
        raise _refusal(stretching, f"scales attention by {stretching.numbers['attn_factor']:g} beside it")
    divisors = stretching.divisors.get("rope_freqs")
    if divisors is None or all(abs(divisor - 1.0) < _CLOSE for divisor in divisors):
        return stretched
    if stretched:
        raise _refusal(stretching, "it has the divisors of rope_freqs as well")
    if _keeps_still(divisors, current):
        return {}
    return _llama3(divisors, config, current) or {
        "rope_type": "longrope",
        "short_factor": list(divisors),
        "long_factor": list(divisors),
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": config.max_position_embeddings,
    }


def _yarn(stretching: Stretching, config: Any) -> dict[str, Any]:
    """Return the parameters of YaRN; the file's attention factor is the whole of it or multiplies the usual one."""
    numbers = dict(stretching.numbers)
    factor = stretching.factor
    if factor <= 0:
        raise _refusal(stretching, "it does not say by how much")
    if numbers.pop("yarn_ext_factor", 1.0) != 1.0:
        raise _refusal(stretching, "transformers extrapolates in full (yarn_ext_factor 1)")
    if numbers.pop("yarn_log_multiplier", 0.0):
        raise _refusal(stretching, "its yarn_log_multiplier changes the softmax")
    parameters: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": stretching.original_length or int(config.max_position_embeddings),
    }
    multiplier = numbers.pop("attn_factor", 1.0)
    if "yarn_attn_factor" in numbers:
        parameters["attention_factor"] = numbers.pop("yarn_attn_factor") * multiplier
    elif multiplier != 1.0:
        parameters["attention_factor"] = multiplier * (0.1 * math.log(factor) + 1.0)
    for key in ("beta_fast", "beta_slow"):
        if f"yarn_{key}" in numbers:
            parameters[key] = numbers.pop(f"yarn_{key}")
    if numbers:
        raise _refusal(stretching, f"it has {', '.join(sorted(numbers))}, which transformers does not know")
    return parameters


def _longrope(stretching: Stretching, config: Any) -> dict[str, Any]:
    """Return the parameters of LongRoPE: two sets of divisors, for texts within the original length and longer ones."""
    short, long = (stretching.divisors.get(f"rope_factors_{length}") for length in ("short", "long"))
    if short is None or long is None:
        raise _refusal(stretching, "the file lacks its divisors rope_factors_short and rope_factors_long")
    original = stretching.original_length or int(config.max_position_embeddings)
    parameters = {
        "rope_type": "longrope",
        "short_factor": list(short),
        "long_factor": list(long),
        "factor": stretching.factor or config.max_position_embeddings / original,
        "original_max_position_embeddings": original,
    }
    attention = stretching.numbers.get("attn_factor", stretching.numbers.get("yarn_attn_factor"))
    return parameters if attention is None else parameters | {"attention_factor": attention}


def _llama3(divisors: Sequence[float], config: Any, current: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of Llama 3.1 from which the divisors follow, or None where they do not.

    Long waves are divided by the factor, short ones not at all. Between them 1 / divisor is linear in the frequency:
    with the original length L, low and high it is (1 - s) / factor + s, s = (L / wavelength - low) / (high - low).
    """
    factor = round(max(divisors), 4)  # of float32 numbers
    width = 2 * len(divisors)
    waves = [2 * math.pi * current["rope_theta"] ** (2 * pair / width) for pair in range(len(divisors))]
    between = [
        (1 / wave, (1 / divisor - 1 / factor) / (1 - 1 / factor))
        for wave, divisor in zip(waves, divisors, strict=True)
        if 1.0 + _CLOSE < divisor < factor * (1 - _CLOSE)
    ]
    candidates = [dict(_LLAMA3)]
    if len(between) > 1:
        # a line through the outermost of them: slope L / (high - low), intercept -low / (high - low); low is 1
        (first, first_share), (last, last_share) = between[0], between[-1]
        slope = (first_share - last_share) / (first - last)
        intercept = first_share - slope * first
        if intercept < 0:
            high = 1.0 - 1.0 / intercept
            length = round(slope * (high - 1.0))
            candidates.append(
                {"low_freq_factor": 1.0, "high_freq_factor": round(high, 4), "original_max_position_embeddings": length}
            )
    for candidate in candidates:
        if all(
            abs(_llama3_divisor(wave, factor, candidate) / divisor - 1.0) < _CLOSE
            for wave, divisor in zip(waves, divisors, strict=True)
        ):
            return {"rope_type": "llama3", "factor": factor} | candidate
    return None


def _llama3_divisor(wave: float, factor: float, numbers: Mapping[str, float]) -> float:
    """Return by how much Llama 3.1 divides the frequency of a wavelength."""
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    length = numbers["original_max_position_embeddings"]
    if wave < length / high:
        return 1.0
    if wave > length / low:
        return factor
    share = (length / wave - low) / (high - low)
    return 1.0 / ((1.0 - share) / factor + share)


def _keeps_still(divisors: Sequence[float], current: Mapping[str, Any]) -> bool:
    """Tell whether the divisors only say which pairs are not turned, as the configuration does already (Gemma 4)."""
    turned = [divisor for divisor in divisors if divisor < _NO_ROTATION]
    share = current.get("partial_rotary_factor", 1.0) if current.get("rope_type") == "proportional" else 1.0
    return all(abs(divisor - 1.0) < _CLOSE for divisor in turned) and len(turned) == int(share * len(divisors))


def _refusal(stretching: Stretching, reason: str) -> NotRunnableError:
    """Return an error that names the stretching."""
    kind = stretching.kind if stretching.kind != "none" or not stretching.divisors else "rope_freqs"
    times = f" by {stretching.factor:g}" if stretching.factor else ""
    return NotRunnableError(f"the file stretches positions ({kind}{times}), and {reason}", _HINT)
