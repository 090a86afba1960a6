"""The first table for LaTeX. No torch here."""

import re
from collections.abc import Sequence

from hfbench.evidence import markdown
from hfbench.evidence.findings import Findings
from hfbench.evidence.rows import MAIN, build_rows, text_table


def as_latex(findings: Findings, names: Sequence[str] = MAIN) -> str:
    r"""A ``table`` environment for ``\usepackage{booktabs}``, with its notes."""
    table = text_table(build_rows(findings), names, findings.footnotes)
    rule = " \\\\"
    lines = [
        "% generated from records/ by `hfbench table`; needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex(findings.data)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(names)}}}",
        "\\toprule",
        " & ".join(map(latex, table.header)) + rule,
        "\\midrule",
        *(" & ".join(map(latex, texts)) + rule for texts in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\par\\smallskip\\footnotesize\\raggedright",
        *(f"{latex(note)}\\par" for note in findings.all_notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """``text`` on one line with LaTeX's special characters and ligatures undone."""
    special = {char: f"\\{char}" for char in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    special |= {"`": r"\textasciigrave{}"}
    apart = re.sub(r"([-',])(?=\1)", r"\1\0", markdown.one_line(text))  # "--" would be a dash
    return "".join(special.get(char, char) for char in apart).replace("\0", "{}")
