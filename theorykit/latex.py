"""Text with formulas as ASCII LaTeX that plain pdflatex sets."""

from __future__ import annotations

import unicodedata

_RESERVED = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
}
_TEXT = {"–": "--", "—": "---", "§": "\\S{}", "’": "'", "“": "``", "”": "''"}
# <, > and | are other characters in the text fonts of plain LaTeX
_MATH = {
    **{"±": "\\pm", "·": "\\cdot", "×": "\\times", "‖": "\\|", "…": "\\ldots", "→": "\\to", "∇": "\\nabla"},
    **{"√": "\\surd", "∝": "\\propto", "∫": "\\int", "≤": "\\le", "≥": "\\ge", "⟨": "\\langle", "⟩": "\\rangle"},
    **{"∞": "\\infty", "≈": "\\approx", "∈": "\\in", "≠": "\\ne", "−": "-", "<": "<", ">": ">", "|": "|"},
}
_ACCENTS = {"\u0302": "\\ensuremath{{\\hat{{{}}}}}", "\u0303": "\\ensuremath{{\\tilde{{{}}}}}"}
_TEXT_ACCENTS = {"\u0300": "\\`{{{}}}", "\u0301": "\\'{{{}}}", "\u0308": '\\"{{{}}}'}


def latex_text(text: str) -> str:
    r"""Return a line of text and Unicode formulas in ASCII LaTeX; what has no translation as ``[U+2603]``.

    Example:
        >>> print(latex_text("W̃_s ≤ ½ε"))
        \ensuremath{\tilde{W}}\_s \ensuremath{\le} \ensuremath{\frac{1}{2}}\ensuremath{\epsilon}
    """
    parts: list[str] = []
    for character in unicodedata.normalize("NFD", text):
        accent = (_ACCENTS | _TEXT_ACCENTS).get(character)
        if accent and parts:
            parts.append(accent.format(parts.pop()))
        else:
            parts.append(_character(character))
    return "".join(parts)


def latex_table(columns: list[str], widths: list[float], rows: list[list[str]]) -> str:
    """Return a longtable over whole pages; widths are shares of the line."""
    layout = "".join(f"p{{{width}\\linewidth}}" for width in widths)
    lines = [f"\\begin{{longtable}}{{{layout}}}", f"{_row(columns)}\\hline\\endhead"]
    return "\n".join([*lines, *map(_row, rows), "\\end{longtable}"])


def latex_list(items: list[str]) -> str:
    """Return an itemized list."""
    return "\n".join(["\\begin{itemize}", *(f"\\item {{}}{latex_text(item)}" for item in items), "\\end{itemize}"])


def _row(cells: list[str]) -> str:
    return " & ".join(map(latex_text, cells)) + " \\\\"


def _character(character: str) -> str:
    if character in _RESERVED or character in _TEXT:
        return _RESERVED.get(character) or _TEXT[character]
    if character.isascii() and character not in _MATH:
        return character
    command = _formula(character)
    return f"\\ensuremath{{{command}}}" if command else f"[U+{ord(character):04X}]"


def _formula(character: str) -> str:
    """Return the command of a symbol, a Greek letter, a raised or lowered character or a fraction; empty if none."""
    if character in _MATH:
        return _MATH[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER ") or character in "ΓΔΘΛΞΠΣΥΦΨΩ":
        letter = name.rsplit(" ", 1)[-1].lower().replace("lamda", "lambda")
        return f"\\{letter.capitalize() if character.isupper() else letter}"
    kind, *codes = unicodedata.decomposition(character).split(" ")
    characters = "".join(chr(int(code, 16)) for code in codes).replace("−", "-")
    if kind == "<fraction>":
        above, below = characters.split("\u2044")
        return f"\\frac{{{above}}}{{{below}}}"
    mark = {"<super>": "^", "<sub>": "_"}.get(kind)
    return f"{mark}{{{characters}}}" if mark and characters.isascii() else ""
