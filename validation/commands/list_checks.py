"""``python -m validation list``: the experiments, what each measures, and its parts in each preset."""

from __future__ import annotations

from typing import Any

from theorykit.cli.options import Debug, Json
from theorykit.cli.output import print_lines, write_json
from validation import presets


def list_checks(json: Json = False, debug: Debug = False) -> None:
    """List the statements that students are held against, what is measured, and which parts each preset has."""
    from theorykit.statements import STATEMENTS, find_statement
    from validation.reports.experiments import SLUGS, find_experiment

    experiments = [find_experiment(slug) for slug in SLUGS]
    rows: list[dict[str, Any]] = [
        {
            "statement": experiment.slug,
            "label": find_statement(experiment.slug)[0].label,
            "title": experiment.title,
            "measures": experiment.measures,
            "parts": list(experiment.parts),
            "presets": {
                name: list(parts)
                for name in presets.PRESETS
                if (parts := presets.check_settings(name, experiment.slug))
            },
        }
        for experiment in experiments
    ]
    slugs = {experiment.slug for experiment in experiments}
    audit_only = [statement.slug for statement in STATEMENTS if statement.slug not in slugs]
    if json:
        write_json("list", {}, {"checks": rows, "audit_only": audit_only})
        return
    for row in rows:
        title = row["title"].removeprefix(f"{row['label']}: ")
        print_lines(f"{row['statement']}  ({row['label']}): {title}", style="bold")
        by_preset = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in row["presets"].items())
        where = f"; by preset: {by_preset}" if by_preset else "; in no preset"
        print_lines(f"  {row['measures']}", f"  parts: {', '.join(row['parts'])}{where}", "")
    print_lines(f"Decided by theorykit audit alone: {', '.join(audit_only)}.")
