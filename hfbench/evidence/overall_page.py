"""Several tasks as one HTML file that needs nothing else, as `page` is of one task."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hfbench.evidence.figures import WIDE, WIDTH
from hfbench.evidence.overall_findings import OverallFindings
from hfbench.evidence.overall_plots import draw_overall
from hfbench.evidence.overall_table import (
    matrix,
    overall_table,
    pairs_table,
    shown_pairs,
    tasks_below,
)
from hfbench.evidence.page import both_widths
from hfbench.system.files import atomic


def write_overall_report(findings: OverallFindings, folder: Path) -> Path:
    """Write ``report.html``; the same bytes each time."""
    path = folder / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(render_overall(findings, folder), encoding="utf-8", newline="\n")
    return path


def render_overall(findings: OverallFindings, folder: Path) -> str:
    """The page; the reports of tasks below ``folder`` are linked."""
    templates, overall = files("hfbench.evidence") / "templates", findings.overall
    script = (templates / "report.js").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((templates / "overall.html.j2").read_text("utf-8"))
    shown = shown_pairs(overall)
    return template.render(
        findings=findings,
        overall=overall,
        summary=overall_table(overall),
        matrix=matrix(overall, intervals=True),
        questions=pairs_table(overall.questions, verdicts=True) if overall.questions else None,
        pairs=pairs_table(shown) if overall.pairs else None,
        told=[bool(pair.these and pair.these.differ) for pair in shown],
        left_out=len(overall.pairs) - len(shown),
        below=tasks_below(overall, folder),
        plots=both_widths(draw_overall(overall, WIDE), draw_overall(overall, WIDTH)),
        script=Markup(script),  # ours; its hash is in the page's security policy
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((templates / "report.css").read_text("utf-8")),
    )
