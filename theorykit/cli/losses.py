"""What tables of held-out losses have in common: texts that no part of the calibration saw are marked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theorykit.compression.report import TextLoss


def marked_text(loss: TextLoss) -> str:
    """Return the name of a text, with a star where no part of it was calibrated on."""
    return loss.text + ("" if loss.calibrated else " *")


def held_out_caption(losses: Iterable[TextLoss]) -> str:
    """Return what stands below a table of held-out losses."""
    caption = "held-out text; 95 % intervals"
    return caption if all(loss.calibrated for loss in losses) else f"{caption}; * no part of it was calibrated on"
