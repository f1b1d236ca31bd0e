"""The codec as it is trained: vae_lib's transforms, priors and lossy in one file, with wider layers."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.lax import stop_gradient

BLOCK, CHANNELS, REACH, MEAN_MAX, ACTIVATION_MAX, SYMBOL_MAX = 8, 192, 16.0, 4095, 16.0, 511
GROUPS = ((0, 4, 5), (4, 16, 3), (16, 40, 2), (40, 88, 2), (88, 192, 1))
PASSES = np.array([[0, 4, 2, 4], [4, 3, 4, 3], [2, 4, 1, 4], [4, 3, 4, 3]])
LMBDA_LOW, LMBDA_HIGH, ANCHORS, HYPER_CHANNELS = 0.0007, 0.35, 6, 32
LOG_SCALE_MIN, LOG_SCALE_MAX = -4.5 * np.log(2.0), 7.5 * np.log(2.0)
OUTLIERS, OUTLIER_SCALE = 1e-4, 32.0
ANALYSIS, SYNTHESIS, STATE, HIDDEN = (256, 3), (128, 2), 128, 192  # (width, blocks); width of state, of the heads
FAST = jnp.bfloat16  # of the products inside the correcting networks, on a GPU; weights stay float32


def lmbda_of(quality):
    return LMBDA_LOW * (LMBDA_HIGH / LMBDA_LOW) ** quality


def space_to_depth(x, f):
    b, h, w, c = x.shape
    return x.reshape(b, h // f, f, w // f, f, c).swapaxes(2, 3).reshape(b, h // f, w // f, f * f * c)


def depth_to_space(h, f):
    b, rows, columns, c = h.shape
    h = h.reshape(b, rows, columns, f, f, c // f**2)
    return h.swapaxes(2, 3).reshape(b, f * rows, f * columns, c // f**2)


def leaky(h):
    return jnp.maximum(h, h / 8)


def activate(x):
    return jnp.clip(x, 0, ACTIVATION_MAX)


class ResidualConv(nnx.Module):
    def __init__(self, width, dtype, rngs):
        self.near = nnx.Conv(width, width, (3, 3), dtype=dtype, rngs=rngs)
        self.mix = nnx.Conv(width, width, (1, 1), dtype=dtype, rngs=rngs)

    def __call__(self, h):
        return h + self.mix(leaky(self.near(h)))


class Correction(nnx.Module):
    def __init__(self, width, blocks, reach, dtype, rngs):
        self.first = nnx.Conv(CHANNELS, width, (3, 3), dtype=dtype, rngs=rngs)
        self.quality = nnx.Linear(1, width, use_bias=False, rngs=rngs)
        self.blocks = nnx.List([ResidualConv(width, dtype, rngs) for _ in range(blocks)])
        self.last = nnx.Conv(width, CHANNELS, (reach, reach), dtype=dtype, rngs=rngs)

    def __call__(self, h, quality):
        h = self.first(h)
        h = leaky(h + self.quality(quality[:, None])[:, None, None].astype(h.dtype))
        for block in self.blocks:
            h = block(h)
        return self.last(leaky(h)).astype(jnp.float32)


class Transform(nnx.Module):
    def __init__(self, size, reach, dtype, rngs):
        self.basis = nnx.Param(jnp.zeros((CHANNELS, CHANNELS)))
        self.spread = nnx.Variable(jnp.ones(CHANNELS))
        self.correction = Correction(*size, reach, dtype, rngs)


class Analysis(Transform):
    def __call__(self, x, quality):
        z = jnp.matmul(space_to_depth(x, BLOCK), self.basis[...], precision="highest")
        return z + REACH * self.correction(z / self.spread[...], quality)


class Synthesis(Transform):
    def __call__(self, z, quality):
        z = z + REACH * self.correction(z / self.spread[...], quality)
        return depth_to_space(jnp.matmul(z, self.basis[...], precision="highest"), BLOCK)


class Gains(nnx.Module):
    def __init__(self):
        self.log_gain = nnx.Param(jnp.zeros((ANCHORS, CHANNELS)))

    def __call__(self, quality):
        distance = jnp.abs((ANCHORS - 1) * quality[:, None] - jnp.arange(ANCHORS))
        return jnp.exp(jnp.matmul(jnp.maximum(0, 1 - distance), self.log_gain[...], precision="highest"))


class Density(nnx.Module):
    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(2))
        self.ratio = nnx.Param(jnp.array([-0.9, -0.1]))

    def __call__(self, residual, log_scale, frozen=False):
        weight, ratios = self.weight[...], self.ratio[...]
        if frozen:
            weight, ratios, log_scale = map(stop_gradient, (weight, ratios, log_scale))
        near, far = 0.5 - jnp.abs(residual), -0.5 - jnp.abs(residual)
        p = OUTLIERS * (jax.nn.sigmoid(near / OUTLIER_SCALE) - jax.nn.sigmoid(far / OUTLIER_SCALE))
        for share, ratio in zip(jax.nn.softmax(weight), ratios):
            per_scale = jnp.exp(-log_scale - ratio)
            p += (1 - OUTLIERS) * share * (jax.nn.sigmoid(near * per_scale) - jax.nn.sigmoid(far * per_scale))
        return -jnp.log2(p + 1e-9)


class HyperAnalysis(nnx.Module):
    def __init__(self, rngs):
        self.near = nnx.Conv(CHANNELS, 64, (1, 1), rngs=rngs)
        self.half = nnx.Conv(64, 96, (4, 4), strides=2, rngs=rngs)
        self.quarter = nnx.Conv(96, HYPER_CHANNELS, (4, 4), strides=2, rngs=rngs)

    def __call__(self, y):
        h = nnx.relu(self.near(jnp.sign(y) * jnp.log1p(jnp.abs(y))))
        return self.quarter(nnx.relu(self.half(h)))


class HyperSynthesis(nnx.Module):
    def __init__(self, width, rngs):
        self.one = nnx.Conv(HYPER_CHANNELS, 4 * 48, (3, 3), rngs=rngs)
        self.two = nnx.Conv(48, 4 * width, (3, 3), rngs=rngs)

    def __call__(self, h_hat):
        return depth_to_space(self.two(activate(depth_to_space(self.one(h_hat / 8), 2))), 2)


class Head(nnx.Module):
    def __init__(self, width, hidden, outputs, rngs):
        self.one = nnx.Linear(width, hidden, rngs=rngs)
        self.two = nnx.Linear(hidden, outputs, rngs=rngs)
        self.straight = nnx.Linear(width, outputs, use_bias=False, rngs=rngs)

    def __call__(self, state):
        mean, log_scale = jnp.split(self.two(activate(self.one(activate(state)))) + self.straight(state), 2, axis=-1)
        return jnp.clip(mean, -MEAN_MAX / 16, MEAN_MAX / 16), jnp.clip(log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)


class ContextPrior(nnx.Module):
    def __init__(self, width, hidden, rngs):
        self.hyper_analysis = HyperAnalysis(rngs)
        self.hyper_synthesis = HyperSynthesis(width, rngs)
        self.hyper_log_scale = nnx.Param(jnp.zeros(HYPER_CHANNELS))
        self.hyper_slope = nnx.Param(jnp.zeros(HYPER_CHANNELS))
        self.density = Density()
        self.quality = nnx.Param(jnp.zeros(width))
        self.near = nnx.List(
            [
                nnx.Conv(b - a, width, (5, 5) if passes == 5 else (3, 3), use_bias=False, rngs=rngs)
                for a, b, passes in GROUPS[:-1]
            ]
        )
        self.heads = nnx.List([Head(width, hidden, 2 * (b - a), rngs) for a, b, _ in GROUPS])

    def __call__(self, key, y, quality, worth, rdo, noisy=True):
        """rdo: 0 or 1, traced: the decoder gets what the codec's quantiser would send, and the scales learn its bits.

        worth: (batch, 1, 1, 192) bits per squared step. noisy False: bits of what is sent, for validation.
        """
        hyper_key, key = jax.random.split(key)
        h = self.hyper_analysis(y)
        h_hat = h + stop_gradient(jnp.round(h) - h)
        hyper_log_scale = self.hyper_log_scale[...] + self.hyper_slope[...] * quality[:, None, None, None]
        hyper_log_scale = jnp.clip(hyper_log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)
        hyper_noisy = h + jax.random.uniform(hyper_key, h.shape, minval=-0.5, maxval=0.5)
        hyper_bits = self.density(hyper_noisy if noisy else h_hat, hyper_log_scale).sum(axis=(1, 2, 3))
        state = self.hyper_synthesis(h_hat) + quality[:, None, None, None] * self.quality[...]
        y_noise = jax.random.uniform(key, y.shape, minval=-0.5, maxval=0.5)
        y_hat, bits = [], 0.0
        for number, (low, high, passes) in enumerate(GROUPS):
            group, group_noise, group_worth = y[..., low:high], y_noise[..., low:high], worth[..., low:high]
            group_hat = jnp.zeros_like(group)
            row, column = np.indices(y.shape[1:3]) % 4
            turn_of_block = np.maximum(PASSES[row, column] - (5 - passes), 0)
            for turn in range(passes):
                mask = jnp.asarray(turn_of_block == turn, jnp.float32)[..., None]
                mean, log_scale = self.heads[number](state)
                residual = group - mean
                symbol, p_zero = self.quantise(*map(stop_gradient, (residual, log_scale, group_worth)), rdo)
                sent = self.density(symbol, log_scale)
                if noisy:
                    smooth = self.density(residual + group_noise, log_scale)
                    held = self.density(residual + group_noise, log_scale, frozen=True)
                    cost = jnp.where(rdo > 0, sent + held - stop_gradient(held), smooth)
                else:
                    cost = sent
                bits += jnp.sum(mask * cost, axis=(1, 2, 3))
                found = mean + residual + stop_gradient(symbol - residual)
                found += rdo * p_zero * (symbol == 0) * (mean - stop_gradient(mean))  # a 0 leaves the mean as it is
                found = mask * found
                group_hat += found
                if number + 1 < len(GROUPS):
                    state += self.near[number](found)
            y_hat.append(group_hat)
        return jnp.concatenate(y_hat, axis=-1), hyper_bits, bits

    def quantise(self, residual, log_scale, worth, rdo):
        """Symbols, those of `codec.quantise` where rdo is 1; and how likely 0 is."""
        size = jnp.abs(residual)
        nearest = jnp.minimum(jnp.round(size), SYMBOL_MAX)
        bits_zero = stop_gradient(self.density(jnp.zeros_like(size), log_scale))
        best, least = nearest, stop_gradient(self.density(nearest, log_scale)) + worth * (size - nearest) ** 2
        below = jnp.maximum(nearest - 1, 0)
        for candidate, bits in (
            (below, stop_gradient(self.density(below, log_scale))),
            (jnp.zeros_like(size), bits_zero),
        ):
            cost = bits + worth * (size - candidate) ** 2
            best, least = jnp.where(cost < least, candidate, best), jnp.minimum(cost, least)
        stored = log_scale > LOG_SCALE_MIN + 1e-4  # a scale of 0 stores nothing
        best = jnp.where(rdo > 0, best * stored, nearest)
        return best * jnp.sign(residual), 2.0**-bits_zero


class LossyCodec(nnx.Module):
    def __init__(self, rngs, dtype=FAST):
        self.analysis = Analysis(ANALYSIS, 1, dtype, rngs)
        self.synthesis = Synthesis(SYNTHESIS, 3, dtype, rngs)
        self.gains = Gains()
        self.prior = ContextPrior(STATE, HIDDEN, rngs)


def rate_and_distortion(model, key, x_uint8, quality, rdo, noisy=True):
    x = x_uint8.astype(jnp.float32) - 128
    gain = model.gains(quality)[:, None, None]
    worth = lmbda_of(quality)[:, None, None, None] / 3 / gain**2
    y_hat, hyper_bits, bits = model.prior(key, model.analysis(x, quality) * gain, quality, worth, rdo, noisy)
    x_hat = model.synthesis(y_hat / gain, quality)
    if not noisy:
        x_hat = jnp.clip(jnp.round(x_hat), -128, 127)
    pixels = x.shape[1] * x.shape[2]
    return hyper_bits / pixels, bits / pixels, jnp.mean((x - x_hat) ** 2, axis=(1, 2, 3))


# The published model's training let all ratios of the density drift by about -2.2 nats, and the log scales by as much
# the other way: the tables' range was half wasted. SHIFT undoes it, and train.py holds the ratios. (The density was not
# kept in the weights file: 3.44, -3.05, -2.18 are a fit to its counted tables.)
SHIFT = -2.2

# From the published weights to a wider model that does the same: new units are read with zeros.


def thaw(frozen):
    """Arrays of the weights file -> arrays of the model that it was frozen from, as far as they are kept."""
    octaves, half, zero = 4 / np.log(2), 1 / 32, 18.5
    out = {n: v.astype(np.float32) for n, v in frozen.items() if n.startswith(("analysis", "synthesis", "gains"))}
    out |= {f"prior.{n}": v.astype(np.float32) for n, v in frozen.items() if n.startswith("hyper_analysis")}

    def real(name, bits):
        return frozen[name].astype(np.float64) / 2.0**bits

    out["prior.hyper_synthesis.one.kernel"] = 8 * real("hyper.one.kernel", 16)
    out["prior.hyper_synthesis.one.bias"] = real("hyper.one.bias", 16)
    out["prior.hyper_synthesis.two.kernel"] = real("hyper.two.kernel", 12)
    out["prior.hyper_synthesis.two.bias"] = real("hyper.two.bias", 20)
    out["prior.quality"] = 100 * real("quality", 16)
    out["prior.hyper_log_scale"] = (real("hyper_scale.base", 16) - zero) / octaves
    out["prior.hyper_log_scale"] += SHIFT
    out["prior.density.weight"], out["prior.density.ratio"] = np.array([3.44, 0]), np.array([-3.05, -2.18]) - SHIFT
    out["prior.hyper_slope"] = 100 * real("hyper_scale.slope", 16) / octaves
    for group, (low, high, _) in enumerate(GROUPS):
        unit = np.repeat([1, octaves], high - low)
        for part in ("one", "two", "straight"):
            kernel = real(f"heads.{group}.{part}.kernel", 12)
            out[f"prior.heads.{group}.{part}.kernel"] = kernel / (1 if part == "one" else unit)
        out[f"prior.heads.{group}.one.bias"] = real(f"heads.{group}.one.bias", 20)
        bias = real(f"heads.{group}.two.bias", 20) - np.repeat([half, zero], high - low)
        out[f"prior.heads.{group}.two.bias"] = bias / unit + np.repeat([0, SHIFT], high - low)
        if group + 1 < len(GROUPS):
            out[f"prior.near.{group}.kernel"] = real(f"near.{group}.kernel", 12)
    return {n: np.asarray(v, np.float32) for n, v in out.items()}


def flat(state):
    return {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}


def widened(old, new, name):
    """The old array in the corner of the new one; what the old units would read of new units is 0."""
    corner = tuple(slice(0, n) for n in old.shape)
    result = new.copy()
    if result.ndim >= 2 and old.shape[-2] < new.shape[-2]:  # more inputs than before
        inputs = np.arange(new.shape[-2]) >= old.shape[-2]
        result[..., inputs, : old.shape[-1]] = 0
    if name.endswith("bias"):
        result[...] = 0
    result[corner] = old
    return result


def start_from(model_arrays, old):
    """New arrays by name, of the shapes of `model_arrays` (freshly drawn), that compute what `old` computes."""
    result = {}
    for name, new in model_arrays.items():
        new = np.array(new)
        if name == "prior.hyper_synthesis.two.kernel" or name == "prior.hyper_synthesis.two.bias":
            kernel = new.reshape(*new.shape[:-1], 4, STATE) * (1.0 if name.endswith("kernel") else 0)
            before = old[name].reshape(*old[name].shape[:-1], 4, -1)
            kernel[..., : before.shape[-1]] = before
            result[name] = kernel.reshape(new.shape)
        elif name in old:
            result[name] = widened(old[name], new, name)
        elif ".mix.kernel" in name:
            result[name] = np.zeros_like(new)  # a new block starts as the identity
        else:
            result[name] = new
    return result
