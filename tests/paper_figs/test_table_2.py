import numpy as np

PAPER = {
    "lrc": ("20.5", ""),
    "w/o low-rank projection": ("21.8", "+1.3"),
    "w/o cloning": ("22.3", "+1.8"),
    "w/o LM loss": ("21.1", "+0.6"),
    "w/o KD loss": ("23.5", "+3.0"),
}


def test_rows_are_those_of_the_record_with_the_papers_numbers_apart(made, content):
    found, table = content("reported-results"), made("table-2")
    groups = found["data"]["table_2"]
    assert [row[0] for row in table.rows] == [group["name"]["row"] for group in groups]
    full = next(group["held_out"] for group in groups if group["name"]["row"] == "lrc")
    for cells, group in zip(table.rows, groups, strict=True):
        row = dict(zip(table.columns, cells, strict=True))
        name = group["name"]["row"]
        assert float(row["loss, nats per token"].split()[0]) == round(group["held_out"], 4)
        assert row["deployed"] == f"{group['facts']['deployed_parameters']:,}"
        assert (row["the paper: PPL"], row["the paper: Δ PPL"]) == PAPER.get(name, ("", ""))
        if name == "lrc":
            assert (row["loss less LRC's"], row["indispensable"]) == ("reference", "")
            continue
        if group["failed"] == 0:
            added = float(row["loss less LRC's"].split()[0])
            np.testing.assert_allclose(added, group["held_out"] - full, atol=6e-5)
        component = name.removeprefix("w/o ")
        (judged,) = (
            one["words"] for one in found["findings"] if one["what"] == f"loss that is added without {component}"
        )
        assert row["indispensable"] == judged[0].lower().replace("_", " ")
