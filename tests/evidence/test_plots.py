import itertools
import re
import shutil
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.curve_plots import learning_curve
from hfbench.evidence.families import CHECKPOINT, CONTROL, FAMILIES, OUTSIDE, SCRATCH, family_of
from hfbench.evidence.figures import ACCENT, FAINT, INK, WIDE, WIDTH, save_figure
from hfbench.evidence.plots import draw_plots, pareto_front, write_plots


@pytest.fixture(scope="module")
def results(tmp_path_factory, write_record):
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    for size in (20, 80):
        for seed in range(2):
            write_record(folder, "mine", seed, rng.random(80) < 0.8, train_size=size)
            write_record(folder, "theirs", seed, rng.random(80) < 0.6, train_size=size)
    return folder


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    """The files of all figures."""
    return write_plots(load_comparison(results), tmp_path_factory.mktemp("plots"))


def test_every_figure_is_written_as_png_and_svg_the_same_each_time(results, written, tmp_path):
    paths = write_plots(load_comparison(results), tmp_path / "plots")
    names = ["accuracy", "training_loss", "training_accuracy", "learning_curve", "cost"]
    assert [path.name for path in paths] == [f"{n}.{e}" for n in names for e in ("png", "svg")]
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in written]
    for path in paths[::2]:
        image = np.asarray(Image.open(path).convert("L"))
        assert image.std() > 5  # something is drawn
        assert image[0].min() > 250  # nothing is cut at the top
        assert image[-1].min() > 250


def test_letters_stay_letters_and_are_escaped(tmp_path, write_record):
    write_record(tmp_path, "a<b>&$c$", 0, np.ones(80, bool))
    write_record(tmp_path, "other", 0, np.arange(80) < 40)
    plots = {plot.name: plot for plot in draw_plots(load_comparison(tmp_path))}
    save_figure(plots["accuracy"], tmp_path / "accuracy.svg")
    svg = (tmp_path / "accuracy.svg").read_text("utf-8")
    assert "a&lt;b&gt;&amp;$c$" in svg
    assert "a<b>&$c$ 100.0 %" in plots["accuracy"].alt


def test_descriptions_state_the_finding(results):
    comparison = load_comparison(results)
    plots = {plot.name: plot.alt for plot in draw_plots(comparison)}
    best = comparison.models[0]
    low, high = best.interval
    expected = f"mine {100 * best.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    assert expected in plots["accuracy"]
    assert "mine ends at 0.500" in plots["training_loss"]
    assert "mine ends at 75.0 %" in plots["training_accuracy"]
    assert "from 20 to 80 training examples" in plots["learning_curve"]


def test_colours_tell_the_family_in_all_figures(results, write_record, tmp_path, quick_figures):
    checkpoint = {"models": [{"name": "theirs", "model_name_or_path": "a/b"}]}
    results = shutil.copytree(results, tmp_path / "results")
    for size in (20, 80):
        for seed in range(2):
            right = np.arange(80) % 3 > 0
            write_record(results, "theirs", seed, right, train_size=size, settings=checkpoint)
    comparison = load_comparison(results)
    assert {m.name: family_of(m) for m in comparison.models} == {
        "mine": SCRATCH, "theirs": CHECKPOINT
    }  # fmt: skip
    plots = {plot.name: plot for plot in draw_plots(comparison)}
    for name in ("accuracy", "training_loss", "learning_curve", "cost"):
        save_figure(plots[name], tmp_path / f"{name}.svg")
        svg = (tmp_path / f"{name}.svg").read_text("utf-8")
        for family in (SCRATCH, CHECKPOINT):
            assert family.color in svg
            assert family.title in svg
        assert not any(other.color in svg for other in (CONTROL, OUTSIDE))


def test_models_of_one_family_have_a_panel_each_and_other_marks(results):
    plots = {plot.name: plot.figure for plot in draw_plots(load_comparison(results))}
    assert len([axes for axes in plots["training_loss"].axes if axes.get_visible()]) == 2
    (axes,) = plots["cost"].axes
    marks = [line.get_marker() for line in axes.lines if line.get_marker() != "None"]
    assert len({*marks}) == 2


def contrast(one, other):
    """As WCAG 2 defines it, of two colours ``#rrggbb``."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_all_that_is_drawn_can_be_seen_on_light_and_dark_pages():
    css = (files("hfbench.evidence") / "templates" / "report.css").read_text("utf-8")
    light, dark = (css.split("prefers-color-scheme: dark")[part] for part in (0, 1))
    for block, paper in ((light, "#ffffff"), (dark, "#14181d")):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block.partition("@media")[0]))
        assert colours["paper"] == paper
        for name in ("faint", "accent", *(family.name for family in FAMILIES)):
            assert contrast(colours[name], paper) >= 3, (name, paper)
    for colour in (INK, FAINT, ACCENT, *(family.color for family in FAMILIES)):
        assert contrast(colour, "#ffffff") >= 3


def test_of_a_single_point_there_is_no_figure(tmp_path, write_record):
    point = {"step": 5, "epoch": 1.0, "loss": 0.75}
    curves = {"train": [point], "validation": [{**point, "accuracy": 0.5}]}
    write_record(tmp_path, "one", 0, np.arange(80) < 60, curves=curves)
    assert draw_plots(load_comparison(tmp_path)) == []
    write_record(tmp_path, "floor", None, np.arange(80) % 2 == 1, control=True)
    names = [plot.name for plot in draw_plots(load_comparison(tmp_path))]
    assert names == ["accuracy", "cost"]


def test_the_chart_says_how_many_runs_did_not_train(tmp_path, write_record):
    rng = np.random.default_rng(0)
    for seed in range(3):
        write_record(tmp_path, "fine", seed, rng.random(80) < 0.9)
        write_record(
            tmp_path, "odd", seed, rng.random(80) < 0.7 if seed else np.arange(80) % 2 == 1
        )
    plot = draw_plots(load_comparison(tmp_path))[0]
    labels = [text.get_text() for text in plot.figure.axes[0].get_yticklabels()]
    assert labels == ["fine", "odd\n1 of 3 runs did not train"]
    assert plot.alt.endswith("1 of 3 runs did not train.")


def test_a_page_has_figures_as_wide_as_itself_and_as_a_phone(results):
    comparison = load_comparison(results)
    for width in (WIDTH, WIDE):
        assert {p.figure.get_figwidth() for p in draw_plots(comparison, width)} == {width}


def test_nothing_finished_is_no_figure(tmp_path, write_record):
    from hfbench.records.schema import Failure

    failure = Failure(type="E", message="m", step=None)
    write_record(tmp_path, "one", 0, np.ones(8, bool), failure=failure)
    assert draw_plots(load_comparison(tmp_path)) == []


def test_pareto_front_is_of_those_that_none_beats_in_both():
    rng = np.random.default_rng(0)
    costs, values = rng.random(30), rng.random(30)
    beaten = [
        any(costs[j] <= costs[i] and values[j] > values[i] for j in range(30)) for i in range(30)
    ]
    assert sorted(pareto_front(costs, values)) == [i for i in range(30) if not beaten[i]]
    assert pareto_front([1, 1, 2], [5, 6, 6]) == [1]


def test_names_of_many_models_are_all_seen_and_none_over_another(tmp_path, write_record):
    """Even where all are equally good and fast."""
    for number in range(18):
        write_record(tmp_path, f"a-rather-long-name-{number}", 0, np.arange(80) < 60)
    plots = {plot.name: plot.figure for plot in draw_plots(load_comparison(tmp_path))}
    for name in ("cost", "differences"):
        figure = plots[name]
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        inside = figure.bbox.padded(1)
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        boxes = {
            text.get_text(): text.get_window_extent() for text in texts if len(text.get_text()) > 15
        }
        assert len(boxes) >= 18, name
        assert all(inside.contains(*corner) for box in boxes.values() for corner in box.corners())
        for one, other in itertools.combinations(boxes, 2):
            assert not boxes[one].padded(-1).overlaps(boxes[other]), (name, one, other)
    panels = [axes for axes in plots["training_loss"].axes if axes.get_visible()]
    assert len(panels) == 18
    assert all(axes.lines for axes in panels)


def test_runs_without_a_common_epoch_have_no_curve(tmp_path, write_record):
    for seed in range(2):
        point = {"step": 5, "epoch": 0.5 + seed, "loss": 0.75}
        curves = {"train": [point], "validation": [{**point, "accuracy": 0.5}]}
        write_record(tmp_path, "one", seed, np.ones(8, bool), curves=curves)
    names = [plot.name for plot in draw_plots(load_comparison(tmp_path))]
    assert not [name for name in names if name.startswith("training")]


def test_intervals_of_learning_curves_stand_side_by_side(tmp_path, write_record, quick_figures):
    sizes = (20, 80, 100)
    for number in range(6):
        for size in sizes:
            train = {"examples": size, "content_hash": f"{size:064}"}
            right = np.random.default_rng([number, size]).random(40) < 0.7
            write_record(tmp_path, f"m{number}", 0, right, train_size=size, train=train)
    comparison = load_comparison(tmp_path)
    axes = learning_curve(comparison, 8).figure.axes[0]
    drawn = [line for lines in axes.collections for line in lines.get_segments()]
    assert len({line[0, 0] for line in drawn}) == len(drawn) == 6 * len(sizes)
    for size, standing in comparison.curve.items():
        # nearer to this size than to another
        here = [line[:, 1] for line in drawn if abs(np.log(line[0, 0] / size)) < np.log(1.25) / 2]
        expected = [100 * np.array(runs.interval) for runs in standing.finished]
        np.testing.assert_allclose(sorted(map(tuple, here)), sorted(map(tuple, expected)))
