import numpy as np

from paper_figs.pictures import Line, Points


def test_losses_over_the_rank_are_those_of_the_record(made, content, parts, interval):
    found = content("reported-results")
    curves = found["data"]["figure_4_ranks"]
    picture = made("figure-4")
    assert len(picture.panels) == len(curves)
    for panel, (count, curve) in zip(picture.panels, curves.items(), strict=True):
        (points,) = parts(panel, Points).values()
        np.testing.assert_array_equal(points.x, curve["at"])
        wanted = interval(np.transpose(np.array(curve["losses"], dtype=float)))
        np.testing.assert_allclose([points.y, points.low, points.high], wanted)
        assert set(parts(panel, Line)["the teacher"].y) == {found["data"]["teacher_loss"]}
        assert f"{curve['deployed_parameters'][0]:,} to" in points.label
        (judged,) = (one["words"] for one in found["findings"] if f"is a U on {count} train blocks:" in one["what"])
        told = judged[0].lower().replace("_", " ")
        assert panel.title == f"{count.capitalize()} train blocks (a U: {told})"
        assert f"{count} train blocks: {told}" in picture.caption
