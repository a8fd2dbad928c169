"""Pairs of random vectors whose mutual information is known: the 40 published tasks and synthetic hidden states."""

from theorykit.information.tasks.hidden_states import hidden_state_task
from theorykit.information.tasks.registry import TASKS, find_task
from theorykit.information.tasks.task import InformationTask
from theorykit.information.tasks.truths import (
    additive_uniform_information,
    canonical_information,
    student_information,
)

__all__ = [
    "TASKS",
    "InformationTask",
    "additive_uniform_information",
    "canonical_information",
    "find_task",
    "hidden_state_task",
    "student_information",
]
