"""How the course draws: one style, colours with one meaning, and the figures that more than one notebook needs.

The only room that imports pyplot. Each function returns the figure or draws on the axes it is given; notebooks end
with `plt.show()`.
"""

import inspect
import os
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# A colour keeps its meaning in all notebooks. Okabe and Ito's palette (2008), safe for colour-blind readers.
COLOURS = {
    "rate": "#0072B2",
    "distortion": "#D55E00",
    "ours": "#009E73",
    "ours, effort 2": "#004D38",
    "JPEG": "#E69F00",
    "WebP": "#56B4E9",
    "AVIF": "#CC79A7",
    "AVIF, default": "#882255",
    "JPEG XL": "#8B6508",
    "committed": "#0072B2",
    "PNG": "#7F7F7F",
    "xz": "#000000",
    "gap": "#CC79A7",
    "true": "#000000",
    "neutral": "#7F7F7F",
}
# A second cue beside the colour.
MARKERS = {
    "JPEG": "o",
    "WebP": "s",
    "AVIF": "^",
    "AVIF, default": "v",
    "JPEG XL": "D",
    "ours": "P",
    "ours, effort 2": "X",
    "committed": "*",
}


def use_course_style() -> None:
    """Set matplotlib's defaults for all figures of a notebook."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "figure.figsize": (8, 4),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "lines.linewidth": 2,
            "legend.frameon": False,
            "image.cmap": "gray",
            "image.interpolation": "none",
        }
    )


def show_images(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 4, height: float = 2.6) -> Figure:
    """A grid of images, each under its title, pixels shown as they are.

    Args:
      images: (height, width) or (height, width, 1 or 3) each; uint8, or floats in [0, 1].
      titles: one for each image; may have several lines.
      columns: at most so many in a row.
      height: of a row in inches, title included.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = np.shape(images[0])
    figure, axes = plt.subplots(rows, columns, figsize=(columns * height * shape[1] / shape[0], rows * height))
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, image, title in zip(np.ravel(axes), images, titles, strict=False):
        top = 255 if np.asarray(image).dtype == np.uint8 else 1
        axis.imshow(np.squeeze(image), vmin=0, vmax=top)
        axis.set_title(title, fontsize=10)
    return figure


def image_grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, height, width, channels) of one size laid side by side into one, row by row; n = rows x columns."""
    n, height, width, channels = images.shape
    grid = np.asarray(images).reshape(n // columns, columns, height, width, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(n // columns * height, columns * width, channels)


def rate_distortion_axes(axis: Axes, title: str) -> Axes:
    """Label axes for curves of PSNR over rate."""
    axis.set(title=title, xlabel="rate R (bits per pixel)", ylabel="PSNR (dB)")
    return axis


def sliders(draw: Callable[..., None], **ranges: tuple[float, float, float]) -> None:
    """Sliders for whoever runs a notebook in JupyterLab, which draw anew with every move.

    A page of the site, or a test, has nobody to move them: there nothing is shown. A Jupyter server tells the kernels
    that it starts for people the name of their session, in JPY_SESSION_NAME.

    Args:
      draw: draws a figure from numbers, which have defaults: where the sliders begin.
      ranges: (lowest, highest, step) for each of these numbers, by name.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return
    import ipywidgets

    controls = {}
    for name, (low, high, step) in ranges.items():
        kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
        start = inspect.signature(draw).parameters[name].default
        controls[name] = kind(start, min=low, max=high, step=step, description=name)
    ipywidgets.interact(draw, **controls)


# The parts of a variational autoencoder: (left, bottom) of its box, what stands in it, and a colour's name.
VAE_PARTS = {
    "x": ((0.0, 1.5), "image\n$x$", "true"),
    "encoder": ((1.4, 1.5), "encoder\n(a network)", "ours"),
    "posterior": ((2.8, 1.5), "$q(z\\,|\\,x)$\nmean, log std", "ours"),
    "sample": ((4.2, 1.5), "sample\n$z$ from $q$", "ours"),
    "decoder": ((5.6, 1.5), "decoder\n(a network)", "distortion"),
    "likelihood": ((7.0, 1.5), "likelihood\n$p(x\\,|\\,z)$", "distortion"),
    "prior": ((1.4, 0.0), "prior\n$p(z)$", "rate"),
    "kl": ((2.8, 0.0), "KL\n($q$ to prior)", "rate"),
    "loss": ((7.0, 0.0), "loss\n($-$ELBO)", "true"),
}
VAE_ARROWS = ["x encoder", "encoder posterior", "posterior sample", "sample decoder", "decoder likelihood"]
VAE_ARROWS += ["posterior kl", "prior kl", "kl loss", "likelihood loss"]


def vae_diagram(lit: str | Sequence[str] = ()) -> Figure:
    """What flows where in a variational autoencoder, with today's parts in colour (notebooks 02 to 07).

    Args:
      lit: one part or several: x, encoder, posterior, sample, decoder, likelihood, prior, kl, loss.
    """
    bright = {lit} if isinstance(lit, str) else set(lit)
    if unknown := bright - set(VAE_PARTS):
        raise ValueError(f"no such part: {sorted(unknown)}; the diagram has {list(VAE_PARTS)}")
    width, height = 1.1, 0.8
    figure, axis = plt.subplots(figsize=(8.2, 2.9))
    axis.set(xlim=(-0.08, 8.18), ylim=(-0.1, 2.85), aspect="equal")
    axis.axis("off")

    def arrow(points: list[tuple[float, float]], *ends: str) -> None:
        """A line through points, in black if the parts at its ends are lit."""
        colour, line = ("black", 1.8) if bright.issuperset(ends) else ("#BBBBBB", 1.2)
        axis.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=line, solid_joinstyle="miter")
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": line, "shrinkA": 0, "shrinkB": 1}
        axis.annotate("", points[-1], points[-2], arrowprops=style)

    for pair in VAE_ARROWS:
        start, end = pair.split()
        (left, bottom), (to_left, to_bottom) = VAE_PARTS[start][0], VAE_PARTS[end][0]
        ends = [(left + width, bottom + height / 2), (to_left, to_bottom + height / 2)]
        if bottom > to_bottom:
            ends = [(left + width / 2, bottom), (to_left + width / 2, to_bottom + height)]
        arrow(ends, start, end)
    # The likelihood is that of the image itself: a line over everything.
    arrow([(width / 2, 2.3), (width / 2, 2.65), (7 + width / 2, 2.65), (7 + width / 2, 2.3)], "x", "likelihood")
    axis.text(5.45, 0.43, "rate", color=COLOURS["rate"] if "kl" in bright else "#999999", ha="center", va="bottom")
    distortion = COLOURS["distortion"] if "likelihood" in bright else "#999999"
    axis.text(7.48, 1.15, "distortion", color=distortion, ha="right", va="center")
    for name, ((left, bottom), words, colour) in VAE_PARTS.items():
        edge, fill, line = (
            (COLOURS[colour], COLOURS[colour] + "26", 2.2) if name in bright else ("#BBBBBB", "white", 1.2)
        )
        axis.add_patch(plt.Rectangle((left, bottom), width, height, edgecolor=edge, facecolor=fill, linewidth=line))
        ink = "black" if name in bright else "#777777"
        axis.text(left + width / 2, bottom + height / 2, words, ha="center", va="center", fontsize=9.5, color=ink)
    return figure


# The parts of the codec: name, (left, bottom) of its boxes, what stands in each, and a colour's name. The upper row is
# the encoder, the lower one the decoder.
CODEC_PARTS: dict[str, tuple[list[tuple[float, float]], list[str], str]] = {
    "image": ([(0.0, 2.6), (0.0, 0.0)], ["image\n$x$", "image\n$\\hat x$"], "true"),
    "transform": ([(1.4, 2.6), (1.4, 0.0)], ["analysis\n$z$", "synthesis"], "ours"),
    "gain": ([(2.8, 2.6), (2.8, 0.0)], ["gain\n$y$, in steps", "$1\\,/\\,$gain\n$\\hat z$"], "ours"),
    "round": ([(4.2, 2.6), (4.2, 0.0)], ["round\n$\\hat y$", "symbols\n$\\hat y$"], "distortion"),
    "coder": ([(5.6, 2.6), (5.6, 0.0)], ["ANS\nwrites", "ANS\nreads"], "rate"),
    "tables": ([(5.6, 1.3)], ["tables\n$p(\\hat y)$"], "rate"),
    "file": ([(7.0, 1.3)], ["file\n(bytes)"], "true"),
    "hyperprior": ([(2.8, 1.3)], ["hyperprior\n($\\hat h$, stored)"], "gap"),
    "context": ([(4.2, 1.3)], ["context\n(of symbols)"], "JPEG"),
}
# From part to part: which of its boxes it leaves and reaches (0 the encoder's, 1 the decoder's).
CODEC_ARROWS = (
    *("image0 transform0", "transform0 gain0", "gain0 round0", "round0 coder0", "coder0 file0"),
    *("file0 coder1", "coder1 round1", "round1 gain1", "gain1 transform1", "transform1 image1"),
    *("tables0 coder0", "tables0 coder1", "gain0 hyperprior0", "hyperprior0 context0", "context0 tables0"),
    "round1 context0",
)


def codec_diagram(lit: str | Sequence[str] = ()) -> Figure:
    """From image to bytes and back, with today's parts in colour (notebooks 10 to 12).

    Args:
      lit: one part or several: image, transform, gain, round, coder, tables, file, hyperprior, context.
    """
    bright = {lit} if isinstance(lit, str) else set(lit)
    if unknown := bright - set(CODEC_PARTS):
        raise ValueError(f"no such part: {sorted(unknown)}; the diagram has {list(CODEC_PARTS)}")
    width, height = 1.1, 0.8
    figure, axis = plt.subplots(figsize=(8.2, 3.6))
    axis.set(xlim=(-0.08, 8.18), ylim=(-0.1, 3.5), aspect="equal")
    axis.axis("off")
    for pair in CODEC_ARROWS:
        (start, from_box), (end, to_box) = ((name[:-1], int(name[-1])) for name in pair.split())
        (left, bottom), (to_left, to_bottom) = CODEC_PARTS[start][0][from_box], CODEC_PARTS[end][0][to_box]
        right, up = np.sign(to_left - left), np.sign(to_bottom - bottom)
        # An arrow leaves a box in the middle of a side.
        points = [
            (left + width / 2 * (1 + right), bottom + height / 2),
            (to_left + width / 2 * (1 - right), to_bottom + height / 2),
        ]
        if right == 0:
            points = [
                (left + width / 2, bottom + height / 2 * (1 + up)),
                (left + width / 2, to_bottom + height / 2 * (1 - up)),
            ]
        elif end == "file":
            points[1:] = [(to_left + width / 2, points[0][1]), (to_left + width / 2, to_bottom + height)]
        elif start == "file":
            points = [(left + width / 2, bottom), (left + width / 2, points[1][1]), points[1]]
        colour, line = ("black", 1.8) if {start, end} <= bright else ("#BBBBBB", 1.2)
        axis.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=line, solid_joinstyle="miter")
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": line, "shrinkA": 0, "shrinkB": 1}
        axis.annotate("", points[-1], points[-2], arrowprops=style)
    for name, (places, words, colour) in CODEC_PARTS.items():
        edge, fill, line = (
            (COLOURS[colour], COLOURS[colour] + "26", 2.2) if name in bright else ("#BBBBBB", "white", 1.2)
        )
        for (left, bottom), word in zip(places, words, strict=True):
            axis.add_patch(plt.Rectangle((left, bottom), width, height, edgecolor=edge, facecolor=fill, linewidth=line))
            ink = "black" if name in bright else "#777777"
            axis.text(left + width / 2, bottom + height / 2, word, ha="center", va="center", fontsize=10, color=ink)
    axis.text(0.55, 1.7, "encoder above\ndecoder below", ha="center", va="center", fontsize=9, color="#777777")
    return figure
