"""From a matplotlib figure to inline SVG that takes its colours and its type from the page it stands in.

Colours are drawn as sentinels, each an RGB value that nothing else uses, and become CSS variables afterwards: so one picture
is right in light and in dark without a script.
"""

import io
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID, SURFACE = "#010203", "#010204", "#010205", "#010206"
GOOD, BAD = "#010207", "#010208"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--bg",
    GOOD: "--met",
    BAD: "--not-met",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES, 1)},
}
"""The CSS variable that the page must define for each sentinel."""
WIDTH_IN = 4.8
"""345 points: on a phone 360 pixels wide a point is about a pixel, so type keeps its size."""
FONT_POINTS = 10.5
MAX_POINTS = 300
"""Most points of one line: more are averaged in groups, since a picture 345 points wide shows no more."""
MAX_LABEL = 24
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)))
"""Lines of one panel differ in their dashes too, for readers to whom colours look alike."""
_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aria",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS - 0.5,
    "ytick.labelsize": FONT_POINTS - 0.5,
    "legend.fontsize": FONT_POINTS - 0.5,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "errorbar.capsize": 3,
}


@contextmanager
def drawing(
    height_in: float, num_panels: int = 1, *, ratios: tuple[float, ...] | None = None, sharex: bool = True
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of panels one above the other, with the page's style while the block runs."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(num_panels, 1, sharex=sharex, squeeze=False, height_ratios=ratios)
        for panel in axes[:, 0]:
            panel.grid(axis="y")
            panel.tick_params(which="both", length=0)
        yield figure, list(axes[:, 0])


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as one `<svg>` element, to be called within its `drawing` block.

    `name` goes before every id, so that the pictures of one page do not clash; `label` is what a screen reader says, and the
    title. The same figure gives the same text each time: no date, fixed ids.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # The style element holds one rule for every element of the page it is put in; it is on the root instead.
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = set(re.findall(r"#([\w.]+)\)?\"", text.getvalue()))
    for element in root.iter():
        element.tag = _local(element.tag)
        kept = {_local(key): value for key, value in element.attrib.items() if key != "id" or value in used}
        element.attrib = {key: _rewritten(key, value, name) for key, value in kept.items()}
    view_box = root.attrib["viewBox"]
    root.attrib = {"viewBox": view_box, "role": "img", "aria-labelledby": f"{name}-title", "class": "plot"}
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    title = ElementTree.Element("title", {"id": f"{name}-title"})
    title.text = label
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")


def note_above(panel: Axes, text: str, x: float, lift_points: float) -> None:
    """A small note above a panel, in the middle over x."""
    panel.annotate(
        text,
        (x, 1),
        xytext=(0, lift_points),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        fontsize=FONT_POINTS - 1,
        color=MUTED,
    )


def thinned(x: Sequence[float], y: Sequence[float], most: int = MAX_POINTS) -> tuple[list[float], list[float]]:
    """At most so many points: means of groups of neighbours. The shorter of the two decides how far they go; NaN is a gap."""
    length = min(len(x), len(y))
    edges = sorted({length * index // most for index in range(most + 1)})
    groups = [slice(start, end) for start, end in pairwise(edges)]
    return [statistics.fmean(x[group]) for group in groups], [_mean(y[group]) for group in groups]


def percent_text(share: float) -> str:
    """A share in percent, with a digit after the point where there is only one before it."""
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def name_text(value: Any) -> str:
    """A name of the data as a label."""
    return plain(str(value)).replace("_", " ")


def plain(text: str) -> str:
    """A label without the control characters that XML cannot hold, and no longer than there is room for."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return kept if len(kept) <= MAX_LABEL else f"{kept[: MAX_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def _local(name: str) -> str:
    """A tag or attribute without its namespace, which inline SVG does not need."""
    return name.rpartition("}")[2]


def _rewritten(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"'DejaVu Sans'[^;]*", "var(--sans)", value)
        value = re.sub(r"#[0-9a-f]{6}", lambda found: _variable(found.group()), value)
    return value


def _variable(colour: str) -> str:
    return f"var({VARIABLES[colour]})" if colour in VARIABLES else colour
