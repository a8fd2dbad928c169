"""The paper's tables in every form in which they are written."""

import csv
import io

import pytest

from tests.test_tables import check
from theorykit.tables import as_csv, markdown


@pytest.mark.parametrize("name", ["table-1", "table-2"])
def test_latex_of_the_tables(name, made):
    check(made(name))


@pytest.mark.parametrize("name", ["table-1", "table-2"])
def test_csv_and_markdown_have_every_cell(name, made):
    table = made(name)
    rows = list(csv.reader(io.StringIO(as_csv(table, []))))
    assert rows == [list(table.columns), *map(list, table.rows)]
    lines = [line for line in markdown(table, []).splitlines() if line.startswith("| ")]
    assert len(lines) == len(table.rows) + 2
    assert {line.count(" | ") for line in lines} == {len(table.columns) - 1}
