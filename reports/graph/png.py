"""Drawings as PNG, on light paper."""

from __future__ import annotations

import io
import warnings

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from reports.graph.shapes import ROUNDING, Anchor, Curve, Disc, Drawing, Plate, Words
from reports.palette import LIGHT

SCALE = 2
"""So many pixels of the image are one of the drawing."""
DOTS_PER_INCH = 100
POINTS = 72 / DOTS_PER_INCH
"""In which matplotlib counts fonts and lines: so many of them are a pixel."""
FONT = "DejaVu Sans"
"""It comes with matplotlib: the picture is the same everywhere."""
SIDES: dict[Anchor, str] = {"start": "left", "middle": "center", "end": "right"}


def png_of(drawing: Drawing) -> bytes:
    """The drawing as an image file, of SCALE times as many pixels each way."""
    size = (drawing.width / DOTS_PER_INCH, drawing.height / DOTS_PER_INCH)
    figure = Figure(figsize=size, facecolor=LIGHT["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    for height, shape in enumerate(drawing.shapes):
        match shape:
            case Curve():
                _add_curve(axes, shape, height)
            case Disc():
                _add_disc(axes, shape, height)
            case Plate():
                _add_plate(axes, shape, height)
            case Words():
                _add_words(axes, shape, height)
    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of characters that the font lacks
        figure.savefig(image, format="png", dpi=DOTS_PER_INCH * SCALE, metadata={"Software": None})
    return image.getvalue()


def _add_curve(axes: Axes, curve: Curve, height: int) -> None:
    way = Path(list(curve[:3]), [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    axes.add_patch(
        PathPatch(
            way,
            fill=False,
            edgecolor=LIGHT["line"],
            linewidth=curve.thick * POINTS,
            alpha=curve.opacity,
            capstyle="round",
            zorder=height,
        )
    )


def _add_disc(axes: Axes, disc: Disc, height: int) -> None:
    paper = {"linewidth": 2 * POINTS, "edgecolor": LIGHT["paper"]}
    rim = {"linewidth": POINTS, "edgecolor": LIGHT["ink"], "fill": False, "alpha": 0.45}
    axes.add_patch(
        Circle(disc.centre, disc.radius + 1, facecolor=disc.colour, zorder=height, **paper)
    )
    axes.add_patch(Circle(disc.centre, disc.radius, zorder=height, **rim))


def _add_plate(axes: Axes, plate: Plate, height: int) -> None:
    left, top, right, bottom = plate.box
    axes.add_patch(
        FancyBboxPatch(
            (left, top),
            right - left,
            bottom - top,
            boxstyle=f"round,pad=0,rounding_size={ROUNDING:g}",
            facecolor=LIGHT["paper"],
            linewidth=0,
            alpha=0.9,
            zorder=height,
        )
    )


def _add_words(axes: Axes, words: Words, height: int) -> None:
    axes.text(
        *words.at,
        words.text,
        fontfamily=FONT,
        fontsize=words.size * POINTS,
        fontweight="bold" if words.is_bold else "normal",
        color=LIGHT[words.tone],
        horizontalalignment=SIDES[words.anchor],
        verticalalignment="center_baseline",
        rotation=-words.turn,
        rotation_mode="anchor",
        parse_math=False,
        zorder=height,
    )
