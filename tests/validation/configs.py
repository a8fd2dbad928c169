"""Batches of students by keyword."""

from __future__ import annotations

from validation.training.config import BatchConfig


def batch(teacher, **fields):
    """Return a batch; fields of PER_STUDENT hold one value for all or one for each."""
    return BatchConfig.from_dict({"teacher": teacher} | fields)


def changed(config, **fields):
    """Return the batch with other values of these fields."""
    return BatchConfig.from_dict(config.to_dict() | fields)
