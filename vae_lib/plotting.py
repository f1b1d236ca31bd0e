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
