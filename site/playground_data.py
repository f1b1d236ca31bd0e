"""What the playground's pages load, made from the committed weights and photographs when the site is built."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from flax import nnx
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vae_lib import codec
from vae_lib.images import FASHION_CLASSES, crop, encode_image, load_fashion_mnist, load_photographs
from vae_lib.training import read_weights
from vae_lib.vae import bits_per_latent
from vae_lib.workshop.fashion_vaes import FASHION_VAE, load_fashion_vae

QUALITIES = range(0, 101, 10)
SAMPLES = {  # name: photograph, (top, left, height, width), what is seen, whose it is
    "fig": ("picture_0b", (112, 208, 256, 384), "A halved fig in a red bowl", "Trevor “Freespace”, 2018"),
    "dogs": ("friends", (144, 96, 384, 320), "Two dogs at a window", "Aitzol Berasategi, 2018"),
    "mountains": ("picosdeeuropa", (0, 0, 512, 768), "A path towards mountains", "Aitzol Berasategi, 2018"),
}  # all CC BY 4.0
EXAMPLES_PER_CLASS = 2


def build(out: Path) -> None:
    """Write into the folder `out` all data that the pages load."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(codec.WEIGHTS, out / "codec.safetensors")
    build_samples(out)
    build_latents(out)


def build_samples(out: Path) -> None:
    """Each sample without loss, and as `.vic` at each quality."""
    weights, photographs, samples = codec.load_weights(), load_photographs("test"), []
    for name, (photograph, window, title, author) in SAMPLES.items():
        x_uint8 = crop(photographs[photograph], *window)
        (out / f"{name}.webp").write_bytes(encode_image(x_uint8, "WebP", lossless=True, quality=60))
        for quality in QUALITIES:
            (out / f"{name}_{quality}.vic").write_bytes(codec.encode(x_uint8, weights, quality))
        samples.append({"name": name, "title": title, "author": author, "height": window[2], "width": window[3]})
    (out / "samples.json").write_text(json.dumps({"qualities": list(QUALITIES), "samples": samples}))


def build_latents(out: Path) -> None:
    """The decoder of the Fashion-MNIST VAE, posteriors of some test images, and the bits of each latent."""
    arrays = read_weights(FASHION_VAE)[1]
    stored = {name: array for name, array in arrays.items() if name.startswith("decoder.")}
    name = "decoder.pixels.kernel"  # three quarters of the file
    stored[name], stored[f"{name}.scale"] = in_bytes(stored[name].astype(np.float32))

    x_uint8, labels = load_fashion_mnist("test")
    posterior = nnx.jit(lambda model, x_uint8: model.encoder(x_uint8))
    mean, log_std = posterior(load_fashion_vae(), x_uint8)
    chosen = np.concatenate([np.nonzero(labels == label)[0][:EXAMPLES_PER_CLASS] for label in range(10)])
    stored["bits"] = np.asarray(bits_per_latent(mean, log_std))
    stored["examples.images"] = x_uint8[chosen, :, :, 0]
    stored["examples.mean"], stored["examples.log_std"] = np.asarray(mean[chosen]), np.asarray(log_std[chosen])
    titles = [f"{FASHION_CLASSES[labels[i]]}, test image {i:,}" for i in chosen]
    save_file(stored, out / "latents.safetensors", metadata={"examples": json.dumps(titles)})


def in_bytes(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel (inputs, outputs) as integers -127 .. 127, and the unit of each output."""
    unit = np.abs(kernel).max(axis=0) / 127
    return np.rint(kernel / unit).astype(np.int8), unit.astype(np.float32)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
