"""Table 2: what the method loses without one of its components."""

from __future__ import annotations

from paper_figs.reported_results import INTERVALS, MEASURED, measured, measured_cells, parameter_cells, verdict
from paper_figs.sources import Sources
from theorykit.statements import reported_results as printed
from theorykit.tables import Table
from validation.reported_results.design import FULL, ROWS
from validation.reported_results.verdicts import SMALLEST_EFFECT

ABOUT = "the method without each of its components, beside the paper's numbers"


def build(sources: Sources) -> Table:
    """Return the loss without each component, whether it is indispensable, and the paper's perplexities."""
    data = measured(sources)
    components = {row: name for name, row in ROWS.items()}
    rows = []
    for group in data.table_2:
        row, name = group.name["row"], components[group.name["row"]]
        needed = "" if name == FULL else verdict(sources, "table-2", "component", component=name)
        rows.append([row, *parameter_cells(group), *measured_cells(group), needed, *_paper(name)])
    return Table(
        "The method without one of its components",
        ("students", "deployed", "trained", *MEASURED, "indispensable", "the paper: PPL", "the paper: Δ PPL"),
        rows,
        "The columns of the paper are of its own teacher and text, without seeds: no number of ours is one of theirs. "
        f"Indispensable is what costs more than {SMALLEST_EFFECT:g} nats when it is left out (a margin of ours). Of "
        f"all components at once the record says: {verdict(sources, 'table-2', 'every-component')}. Without low-rank "
        "projection may be read as factors that start anew, beside which the paper's number stands, or as no factors.",
        f"{INTERVALS} {data.setting}",
    )


def _paper(name: str) -> tuple[str, str]:
    if name == FULL:
        return f"{printed.FULL:.1f}", ""
    if name not in printed.TABLE_2:
        return "", ""
    perplexity, difference = printed.TABLE_2[name]
    return f"{perplexity:.1f}", f"{difference:+.1f}"
