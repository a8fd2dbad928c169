from __future__ import annotations

import pickle

import numpy as np
import pytest

from theorykit.errors import InputError
from theorykit.information.tasks import TASKS, InformationTask, find_task

by_identifier = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.identifier)


def test_forty_tasks_twenty_of_them_with_a_gaussian_copula():
    assert len(TASKS) == 40
    assert sum(task.gaussian_copula for task in TASKS) == 20
    for label in ("name", "identifier"):
        assert len({getattr(task, label) for task in TASKS}) == 40


def test_the_sizes_are_the_published_ones():
    sizes = [task.dimensions for task in TASKS]
    assert {size: sizes.count(size) for size in sizes} == {
        **{(1, 1): 9, (2, 1): 1, (2, 2): 5, (3, 3): 9, (5, 5): 9},
        **{(25, 25): 6, (50, 50): 1},
    }


@by_identifier
def test_samples_have_the_shape_that_is_said_and_repeat(task):
    first, second = (task.sample(60, np.random.default_rng(7)) for _ in range(2))
    other = task.sample(60, np.random.default_rng(8))
    for side in range(2):
        assert first[side].shape == (60, task.dimensions[side])
        assert first[side].dtype == np.float64
        assert first[side].flags.c_contiguous
        assert np.isfinite(first[side]).all()
        assert (first[side] == second[side]).all()
        assert (first[side] != other[side]).any()
    assert np.unique(first[0], axis=0).shape[0] == 60


def test_a_generator_goes_on_where_it_stopped():
    generator = np.random.default_rng(7)
    first, second = (TASKS[0].sample(5, generator)[0] for _ in range(2))
    assert (first != second).all()


@by_identifier
def test_tasks_travel_between_processes(task):
    copy = pickle.loads(pickle.dumps(task))
    assert (copy.name, copy.information) == (task.name, task.information)
    assert (copy.sample(3, np.random.default_rng(1))[1] == task.sample(3, np.random.default_rng(1))[1]).all()


@by_identifier
def test_tasks_are_found_by_name_and_identifier(task):
    assert find_task(task.name) is task
    assert find_task(task.identifier) is task
    assert find_task(task.name.replace("×", "x").upper()) is task


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="name = 'bimodal' is no task") as caught:
        find_task("bimodal")
    assert "Bimodal 1 × 1" in caught.value.hint
    with pytest.raises(InputError, match="name = None is no task"):
        find_task(None)


def test_the_repr_says_the_truth_and_not_the_sampler():
    assert repr(find_task("Student-t 1 x 1 (dof=1)")) == (
        "InformationTask(name='Student-t 1 × 1 (dof=1)', identifier='student-identity-1-1-1', dimensions=(1, 1), "
        f"information={TASKS[7].information!r}, gaussian_copula=False)"
    )


@pytest.mark.parametrize("count", [0, -3, 2.5, "many", np.nan])
def test_a_wrong_number_of_samples_is_refused(count):
    with pytest.raises(InputError, match="n_samples = "):
        TASKS[0].sample(count, np.random.default_rng(0))


@pytest.mark.parametrize("generator", [None, 3, np.random.RandomState(0)])
def test_a_wrong_generator_is_refused(generator):
    with pytest.raises(InputError, match=r"generator = .* is not a numpy.random.Generator"):
        TASKS[0].sample(10, generator)


def test_a_task_of_ones_own():
    task = InformationTask("Own", "own", (1, 1), 0.0, True, lambda n, rng: tuple(rng.standard_normal((2, n, 1))))
    assert task.sample(4, np.random.default_rng(0))[1].shape == (4, 1)
