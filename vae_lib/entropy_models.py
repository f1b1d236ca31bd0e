"""Entropy models of latents, as they are trained: per channel (notebook 10), hyperprior and context (notebook 11).

Latents come here in steps: y = z * gain, so that rounding y quantises z. All log scales are natural logarithms of
numbers of steps. `decoder.py` runs the same networks in integers; `freezing.py` rounds the trained ones.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vae_lib.decoder import CHANNELS, GROUPS, MEAN_MAX, pass_map
from vae_lib.networks import depth_to_space

HYPER_CHANNELS = 32
ACTIVATION_MAX = 16.0  # the integer networks clip their activations here
LOG_SCALE_MIN, LOG_SCALE_MAX = -4.5 * np.log(2.0), 7.5 * np.log(2.0)  # the range of decoder.SCALES tables
OUTLIERS, OUTLIER_SCALE = 1e-4, 32.0  # share and scale, in steps, of what no prediction foresees


class Density(nnx.Module):
    """A zero-mean mixture of two logistics whose shape is learned and whose scale is given."""

    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(2))
        self.ratio = nnx.Param(jnp.array([-0.9, -0.1]))

    def __call__(self, residual: Array, log_scale: Array) -> Array:
        """Bits of the interval of length 1 around each residual; residual and log_scale of one shape."""
        near, far = 0.5 - jnp.abs(residual), -0.5 - jnp.abs(residual)
        p = OUTLIERS * (jax.nn.sigmoid(near / OUTLIER_SCALE) - jax.nn.sigmoid(far / OUTLIER_SCALE))
        for share, ratio in zip(jax.nn.softmax(self.weight[...]), self.ratio[...], strict=True):
            per_scale = jnp.exp(-log_scale - ratio)
            p += (1 - OUTLIERS) * share * (jax.nn.sigmoid(near * per_scale) - jax.nn.sigmoid(far * per_scale))
        return -jnp.log2(p + 1e-9)


class ChannelPrior(nnx.Module):
    """One density for each channel, the same in every block of every image; its scale follows the gain."""

    def __init__(self, std: np.ndarray):
        """
        Args:
          std: (channels,) typical standard deviation of a latent channel at a gain of 1: where the scales start.
        """
        self.density = Density()
        self.log_scale = nnx.Param(jnp.log(jnp.asarray(std)) - 0.5)  # at a gain of 1
        self.power = nnx.Param(jnp.ones(len(std)))

    def __call__(self, y: Array, gain: Array) -> Array:
        """Bits of each symbol; y: (batch, rows, columns, channels) in steps, gain: (batch, channels)."""
        log_scale = self.log_scale[...] + self.power[...] * jnp.log(gain)[:, None, None]
        log_scale = jnp.broadcast_to(jnp.clip(log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX), y.shape)
        return self.density(y, log_scale)


def round_through(x: Array) -> Array:
    """Round; the gradient passes as if nothing had happened (the straight-through estimator)."""
    return x + jax.lax.stop_gradient(jnp.round(x) - x)


def activate(x: Array) -> Array:
    """The non-linearity of the networks that become integer: a rectifier with a ceiling."""
    return jnp.clip(x, 0, ACTIVATION_MAX)


class HyperAnalysis(nnx.Module):
    """Latent in steps to hyper-latent: (batch, rows, columns, 192) -> (batch, rows / 4, columns / 4, 32)."""

    def __init__(self, rngs: nnx.Rngs):
        self.near = nnx.Conv(CHANNELS, 64, (1, 1), rngs=rngs)
        self.half = nnx.Conv(64, 96, (4, 4), strides=2, rngs=rngs)
        self.quarter = nnx.Conv(96, HYPER_CHANNELS, (4, 4), strides=2, rngs=rngs)

    def __call__(self, y: Array) -> Array:
        h = nnx.relu(self.near(jnp.sign(y) * jnp.log1p(jnp.abs(y))))
        return self.quarter(nnx.relu(self.half(h)))


class HyperSynthesis(nnx.Module):
    """Hyper-latent to what it says of each block: (batch, rows, columns, 32) -> (batch, 4 rows, 4 columns, width)."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.one = nnx.Conv(HYPER_CHANNELS, 4 * 48, (3, 3), rngs=rngs)
        self.two = nnx.Conv(48, 4 * width, (3, 3), rngs=rngs)

    def __call__(self, h_hat: Array) -> Array:
        h = activate(depth_to_space(self.one(h_hat / 8), 2))
        return depth_to_space(self.two(h), 2)


class Head(nnx.Module):
    """State of a block to mean and log scale of a group's channels: one hidden layer beside a straight path."""

    def __init__(self, width: int, log_scale: np.ndarray, rngs: nnx.Rngs):
        small, outputs = nnx.initializers.normal(0.01), 2 * len(log_scale)
        self.one = nnx.Linear(width, width, rngs=rngs)
        self.two = nnx.Linear(width, outputs, kernel_init=small, rngs=rngs)
        self.straight = nnx.Linear(width, outputs, use_bias=False, kernel_init=small, rngs=rngs)
        self.two.bias = nnx.Param(jnp.concatenate([jnp.zeros(len(log_scale)), jnp.asarray(log_scale)]))

    def __call__(self, state: Array) -> tuple[Array, Array]:
        mean, log_scale = jnp.split(self.two(activate(self.one(activate(state)))) + self.straight(state), 2, axis=-1)
        return jnp.clip(mean, -MEAN_MAX / 16, MEAN_MAX / 16), jnp.clip(log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)


class ContextPrior(nnx.Module):
    """Mean and scale of each symbol from a hyper-latent and from the symbols decoded before it.

    Channels are decoded in groups, a group in spatial passes (`decoder.GROUPS`); what is decoded is added, through a
    convolution, to the state from which the rest is predicted.

    Sources: Ballé et al. (2018), arXiv:1802.01436; Minnen, Ballé and Toderici (2018), arXiv:1809.02736; for the passes
      He et al. (2021), arXiv:2103.15306; for the groups of channels Minnen and Singh (2020), arXiv:2007.08739.
    """

    def __init__(self, std: np.ndarray, width: int, rngs: nnx.Rngs):
        """
        Args:
          std: (192,) typical standard deviation of a latent channel, in steps: where the scales start.
          width: of the state.
        """
        log_scale, small = np.log(std) - 0.5, nnx.initializers.normal(0.02)
        self.hyper_analysis = HyperAnalysis(rngs)
        self.hyper_synthesis = HyperSynthesis(width, rngs)
        self.hyper_log_scale = nnx.Param(jnp.full(HYPER_CHANNELS, -1.0))
        self.hyper_slope = nnx.Param(jnp.full(HYPER_CHANNELS, 0.5))  # log scale per unit of quality
        self.density = Density()
        self.quality = nnx.Param(jnp.zeros(width))
        self.near = nnx.List(
            [
                nnx.Conv(b - a, width, (5, 5) if passes == 5 else (3, 3), use_bias=False, kernel_init=small, rngs=rngs)
                for a, b, passes in GROUPS[:-1]
            ]
        )
        self.heads = nnx.List([Head(width, log_scale[a:b], rngs) for a, b, _ in GROUPS])

    def __call__(self, key: Array, y: Array, quality: Array, noisy: bool = True) -> tuple[Array, Array, Array]:
        """
        Args:
          key: for the noise.
          y: (batch, rows, columns, 192) latent in steps; rows and columns multiples of 4.
          quality: (batch,) from 0 to 1.
          noisy: bits of latents with uniform noise (whose gradient is useful) rather than of rounded ones.

        Returns:
          y_hat: the rounded latent; gradients pass straight through.
          hyper_bits: (batch,).
          bits: (batch, groups).
        """
        hyper_key, key = jax.random.split(key)
        h = self.hyper_analysis(y)
        h_hat = round_through(h)
        hyper_log_scale = self.hyper_log_scale[...] + self.hyper_slope[...] * quality[:, None, None, None]
        hyper_log_scale = jnp.clip(hyper_log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)
        hyper_bits = self.density(h + noise(hyper_key, h) if noisy else h_hat, hyper_log_scale).sum(axis=(1, 2, 3))
        y_noise = noise(key, y)
        bits = [jnp.zeros(len(y)) for _ in GROUPS]

        def visit(number: int, mask: Array, mean: Array, log_scale: Array) -> Array:
            low, high, _ = GROUPS[number]
            residual = y[..., low:high] - mean
            residual_hat = round_through(residual)
            cost = self.density(residual + y_noise[..., low:high] if noisy else residual_hat, log_scale)
            bits[number] += jnp.sum(mask * cost, axis=(1, 2, 3))
            return mean + residual_hat

        y_hat = self.walk(self.features(h_hat, quality), visit)
        return y_hat, hyper_bits, jnp.stack(bits, axis=-1)

    def features(self, h_hat: Array, quality: Array) -> Array:
        """What the hyper-latent and the quality, (batch,) from 0 to 1, say of each block: the state at the start."""
        return self.hyper_synthesis(h_hat) + quality[:, None, None, None] * self.quality[...]

    def walk(self, state: Array, visit: Callable[[int, Array, Array, Array], Array]) -> Array:
        """Through the latent in the order of decoding (`decoder.walk`).

        Args:
          state: (batch, rows, columns, width) from `features`.
          visit: (number of the group, mask of the pass, mean, log scale) -> latent of the group, of which only what
            the mask shows is taken.

        Returns:
          (batch, rows, columns, 192) the latent in steps.
        """
        latent = []
        for number, (low, high, passes) in enumerate(GROUPS):
            group = jnp.zeros((*state.shape[:3], high - low))
            for mask in pass_masks(state.shape[1:3], passes):
                found = mask * visit(number, mask, *self.heads[number](state))
                group += found
                if number + 1 < len(GROUPS):
                    state += self.near[number](found)
            latent.append(group)
        return jnp.concatenate(latent, axis=-1)


def noise(key: Array, x: Array) -> Array:
    """Uniform on [-1/2, 1/2), of x's shape."""
    return jax.random.uniform(key, x.shape, minval=-0.5, maxval=0.5)


def pass_masks(size: tuple[int, ...], passes: int) -> list[Array]:
    """For each pass, (rows, columns, 1) ones at the blocks that it decodes."""
    return [jnp.asarray(pass_map(size, passes) == turn, jnp.float32)[..., None] for turn in range(passes)]
