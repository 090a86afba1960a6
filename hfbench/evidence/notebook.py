"""The comparison in a notebook: its table, its answer and its chart."""

from collections.abc import Sequence

from markupsafe import Markup, escape
from matplotlib.axes import Axes

from hfbench.errors import UserError
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.families import FAMILIES
from hfbench.evidence.figures import ACCENT, FAINT, Plot
from hfbench.evidence.findings import Findings
from hfbench.evidence.page import inline_svg
from hfbench.evidence.plots import draw_plots
from hfbench.evidence.rows import MAIN, build_rows, text_table


class ComparisonPlots:
    """The figures of a comparison, each as matplotlib's Axes to go on with.

    In a notebook with ``%matplotlib inline`` the figure is shown where the last line of a cell is
    ``comparison.plot.accuracy().figure``.
    """

    def __init__(self, comparison: ComparedModels) -> None:
        self._comparison = comparison

    def measure(self) -> Axes:
        """The measure by which models are ranked, with its 95 % intervals."""
        return self._axes("accuracy", "measure")

    def accuracy(self) -> Axes:
        """The accuracy of each model, with its 95 % interval.

        Raises:
            UserError: if models are ranked by another measure.
        """
        if self._comparison.metric.name != "accuracy":
            raise UserError(
                f"models are ranked by {self._comparison.metric.label}: use plot.measure()"
            )
        return self._axes("accuracy")

    def differences(self) -> Axes:
        """The differences of the models, with their 95 % intervals."""
        return self._axes("differences")

    def _axes(self, *names: str) -> Axes:
        return _plot(self._comparison, names).figure.axes[0]


def _plot(comparison: ComparedModels, names: Sequence[str]) -> Plot:
    """The first of these names that there is.

    Raises:
        UserError: if there is none.
    """
    found = {plot.name: plot for plot in draw_plots(comparison)}
    for name in names:
        if name in found:
            return found[name]
    raise UserError(f"there is nothing to plot as {names[0]} (plots: {', '.join(found) or 'none'})")


def as_html(comparison: ComparedModels) -> str:
    """Answer, table, chart and notes; all that comes from records or data is escaped."""
    findings = Findings.of(comparison)
    table = text_table(build_rows(findings), MAIN, findings.footnotes)
    named = {"faint": FAINT, "accent": ACCENT} | {one.name: one.color for one in FAMILIES}
    colours = "; ".join(f"--{name}: {colour}" for name, colour in named.items())
    parts = [
        Markup('<div style="{}; max-width: 46em">').format(colours),
        Markup("<p><strong>{}</strong>: {}</p>").format(
            comparison.recipe, " ".join(findings.answer)
        ),
        Markup("<table><thead><tr>"),
        *(_cell("th", text, place) for place, text in enumerate(table.header)),
        Markup("</tr></thead><tbody>"),
    ]
    for row in table.rows:
        cells = Markup("").join(_cell("td", text, place) for place, text in enumerate(row))
        parts.append(Markup("<tr>{}</tr>").format(cells))
    parts.append(Markup("</tbody></table>"))
    if len(comparison.finished) > 1:
        parts.append(inline_svg(_plot(comparison, ("accuracy", "measure"))))
    notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in findings.all_notes)
    parts.append(
        Markup("<details><summary>Data and notes</summary><p>{}</p><ul>{}</ul></details>").format(
            findings.data, notes
        )
    )
    return str(Markup("\n").join([*parts, Markup("</div>")]))


def _cell(tag: str, text: str, place: int) -> Markup:
    side = "left" if place == 0 else "right"
    return Markup('<{0} style="text-align: {1}; padding: 2px 8px">{2}</{0}>').format(
        Markup(tag), side, escape(text)
    )
