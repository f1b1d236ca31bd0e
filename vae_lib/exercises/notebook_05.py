"""Exercises of notebook 05: a gradient step in NNX, a stable log_std, one width for all, receptive fields.

The oracles use finite differences, float64 loops, searches and sets of pixels; none has the closed form that the
learner derives.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_lib.exercises.engine import Exercise, Misconception

LN2 = math.log(2)


# 05.1


class _Line(nnx.Module):
    """A linear layer, and an offset of its output that is stored but not trained."""

    def __init__(self, seed: int):
        self.kernel = nnx.Param(jax.random.normal(jax.random.key(seed), (2, 2)))
        self.bias = nnx.Param(jnp.zeros(2))
        self.offset = nnx.Variable(jnp.array([0.5, -0.5]))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.kernel[...] + self.bias[...] + self.offset[...]


def _squared_error(seed: int) -> Callable[[nnx.Module], jax.Array]:
    x, target = jax.random.normal(jax.random.key(100 + seed), (2, 5, 2))
    return lambda model: jnp.mean((model(x) - 3 * target - 1) ** 2)


def _run_descend(function: Callable, seed: int, rate: float) -> np.ndarray:
    """The loss that is returned, then kernel, bias and offset after the step, as one array (9,)."""
    model = _Line(seed)
    value = function(model, _squared_error(seed), rate)
    arrays = model.kernel, model.bias, model.offset
    return np.concatenate([np.ravel(value), *(np.ravel(array[...]) for array in arrays)])


def _descend_by_differences(model: _Line, loss: Callable, rate: float) -> float:
    """Central differences, one entry after the other; exact for a quadratic loss, whatever the step."""
    before = float(loss(model))
    moved = []
    for parameter in (model.kernel, model.bias):
        value, new = np.array(parameter[...], np.float64), np.array(parameter[...], np.float64)
        for i in np.ndindex(value.shape):
            ends = []
            for step in (1.0, -1.0):
                trial = value.copy()
                trial[i] += step
                parameter[...] = jnp.asarray(trial, jnp.float32)
                ends.append(float(loss(model)))
            new[i] -= rate * (ends[0] - ends[1]) / 2
        parameter[...] = jnp.asarray(value, jnp.float32)
        moved.append((parameter, new))
    for parameter, new in moved:
        parameter[...] = jnp.asarray(new, jnp.float32)
    return before


def _step(
    sign: float = 1.0,
    kind: type = nnx.Param,
    put_back: bool = True,
    after: bool = False,
    use_rate: bool = True,
    keep: float = 1.0,
) -> Callable:
    def descend(model, loss, rate):
        graph, state, rest = nnx.split(model, kind, ...)
        value, gradients = jax.value_and_grad(lambda state: loss(nnx.merge(graph, state, rest)))(state)
        if put_back:
            size = sign * (rate if use_rate else 1.0)
            nnx.update(model, jax.tree.map(lambda p, g: keep * p - size * g, state, gradients))
        return loss(model) if after else value

    return descend


DESCEND = Exercise(
    id="05.1",
    title="A step without an optimiser",
    oracle=_descend_by_differences,
    cases=lambda rng: [(int(seed), float(rate)) for seed, rate in zip((3, 4), rng.uniform(0.05, 0.2, 2), strict=True)],
    probe=_run_descend,
    misconceptions=[
        Misconception(
            "new values reach the model by themselves",
            _step(put_back=False),
            "the loss is right, but nothing has moved: a parameter is still {yours} where {right} is right. A tree of "
            "new values reaches the model only through nnx.update(model, new).",
        ),
        Misconception(
            "the gradient points downhill",
            _step(sign=-1.0),
            "the loss is right, but a parameter went to {yours} instead of {right}: you climbed. The gradient points "
            "uphill, so the step is minus rate times gradient.",
        ),
        Misconception(
            "everything a model stores is trained",
            _step(kind=nnx.Variable),
            "loss and parameters are right, but a stored number that is no nnx.Param moved from {right} to {yours}. "
            "Only parameters are trained: nnx.state(model, nnx.Param).",
        ),
        Misconception(
            "the loss of a step is the loss after it",
            _step(after=True),
            "the parameters are right, but you return {yours}, the loss after the step; before it the loss was {right}. "
            "nnx.value_and_grad gives that one for free, without another pass through the model.",
        ),
        Misconception(
            "the step is the gradient",
            _step(use_rate=False),
            "the loss is right, but a parameter went to {yours} instead of {right}: you subtracted the whole gradient. "
            "The step is rate times gradient.",
        ),
        Misconception(
            "nnx.update adds to the old values",
            _step(keep=0.0),
            "the loss is right, but a parameter is now {yours} where {right} is right: that is the step alone. "
            "nnx.update replaces the old values: give it parameter minus step.",
        ),
    ],
    notice="an optimiser is this line with a memory: Adam keeps two running means for each parameter and divides by one.",
    rtol=1e-3,
    atol=1e-4,
)


# 05.2


def _log_std_by_loop(raw: np.ndarray) -> np.ndarray:
    """In float64 the smallest exponential here, e^-200, is still far from underflow."""
    softplus = [max(r, 0.0) + math.log1p(math.exp(-abs(r))) if r > -30 else math.exp(r) for r in np.ravel(raw).tolist()]
    return np.reshape([math.log(variance) / 2 for variance in softplus], np.shape(raw)).astype(np.float32)


def _raw(rng: np.random.Generator) -> list[tuple]:
    middle = rng.uniform(-8, 8, (2, 3))
    ends = np.array([-200.0, -110.0, -60.0, -20.0, -14.0, -3.0, 0.0, 3.0, 14.0, 60.0, 110.0, 200.0])
    return [(middle.astype(np.float32),), (ends.astype(np.float32),)]


def _naive_softplus(raw):
    return jnp.log1p(jnp.exp(raw))


LOG_STD = Exercise(
    id="05.2",
    title="From somebody else's network",
    oracle=_log_std_by_loop,
    cases=_raw,
    misconceptions=[
        Misconception(
            "softplus first, logarithm afterwards",
            lambda raw: 0.5 * jnp.log(jax.nn.softplus(raw)),
            "right in the middle of the range, but {yours} where {right} is right, at a very negative raw: there the "
            "softplus underflows to 0 in float32. For such raw, log(1 + e^raw) is e^raw, whose logarithm you know.",
        ),
        Misconception(
            "log(1 + exp(raw)) can be computed as it is written",
            lambda raw: 0.5 * jnp.log(_naive_softplus(raw)),
            "right in the middle, but not at the ends: at a very negative raw yours is {yours} where {right} is right, and "
            "at a very large one exp(raw) overflows. jax.nn.softplus cures the second; the first needs a thought.",
        ),
        Misconception(
            "softplus gives the standard deviation",
            lambda raw: jnp.where(raw < -15, raw, jnp.log(jax.nn.softplus(jnp.maximum(raw, -15)))),
            "yours is {yours}, exactly twice {right}: that is the log variance.",
        ),
        Misconception(
            "an epsilon inside the logarithm does no harm",
            lambda raw: 0.5 * jnp.log(jax.nn.softplus(raw) + 1e-6),
            "the epsilon shows: yours is {yours} where {right} is right, and however negative raw gets, yours stops at "
            "0.5 log(1e-6) = -6.9. No latent could say anything more precise than that.",
        ),
        Misconception(
            "an epsilon inside the logarithm does no harm, if it is small",
            lambda raw: 0.5 * jnp.log(jax.nn.softplus(raw) + 1e-8),
            "the epsilon shows: yours is {yours} where {right} is right, and however negative raw gets, yours stops at "
            "0.5 log(1e-8) = -9.2. No latent could say anything more precise than that.",
        ),
        Misconception(
            "softplus(raw) is about exp(raw)",
            lambda raw: 0.5 * jnp.asarray(raw),
            "yours is {yours} where {right} is right: you have returned raw/2 everywhere. softplus(raw) is e^raw only for "
            "very negative raw; for large raw it is raw itself.",
        ),
        Misconception(
            "softplus gives the standard deviation, and never zero",
            lambda raw: jnp.log(jax.nn.softplus(raw)),
            "yours is {yours} where {right} is right: that is the log *variance*, twice the log std; and for very negative raw it is the logarithm of zero.",
        ),
        Misconception(
            "softplus is safe as it is written",
            lambda raw: 0.5 * jnp.log(jnp.log(1 + jnp.exp(raw))),
            "yours is {yours} where {right} is right: in float32 1 + exp(raw) is 1 for very negative raw, and infinite for large raw. Both ends need another way.",
        ),
    ],
    notice="now it is the logarithm all the way: very negative raw gives raw/2, without ever forming the tiny variance. "
    "That is what our heads do from the start.",
    rtol=1e-4,
    atol=1e-5,
)


# 05.3


def _width_cost(log_std: float, precisions: np.ndarray) -> float:
    """Mean cost of one width for a latent with these precisions, nats up to a constant."""
    return float(np.mean(0.5 * precisions * math.exp(2 * log_std) - log_std))


def _best_width(precisions: np.ndarray) -> float:
    """Golden-section search for the log_std of least mean cost."""
    low, high, golden = -8.0, 8.0, (math.sqrt(5) - 1) / 2
    while high - low > 1e-8:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _width_cost(left, precisions) < _width_cost(right, precisions):
            high = right
        else:
            low = left
    return (low + high) / 2


def _shared_width_by_search(precisions: np.ndarray) -> tuple[np.ndarray, float]:
    log_std, price = [], 0.0
    for column in np.asarray(precisions, np.float64).T:
        log_std.append(_best_width(column))
        own = np.mean([_width_cost(_best_width(one), one) for one in column[:, None]])
        price += _width_cost(log_std[-1], column) - float(own)
    return np.array(log_std), price


def _shared(log_std: Callable, scale: Callable | None = None) -> Callable:
    """A wrong answer: this log_std, and the price that really belongs to it, perhaps rescaled."""

    def shared_width(precisions):
        widths = log_std(precisions)
        cost = jnp.mean(0.5 * precisions * jnp.exp(2 * widths) - widths, axis=0)
        own = jnp.mean(0.5 + 0.5 * jnp.log(precisions), axis=0)
        price = jnp.sum(cost - own)
        return widths, scale(price, precisions.shape[1]) if scale else price

    return shared_width


def _right_width(precisions):
    return -0.5 * jnp.log(jnp.mean(precisions, axis=0))


SHARED_WIDTH = Exercise(
    id="05.3",
    title="One width for all images",
    oracle=_shared_width_by_search,
    cases=lambda rng: [(np.exp(rng.normal(3, 1, shape)).astype(np.float32),) for shape in ((4, 3), (7, 2))],
    misconceptions=[
        Misconception(
            "average the logarithms of the widths",
            _shared(lambda p: -0.5 * jnp.mean(jnp.log(p), axis=0)),
            "your first log_std is {yours} where {right} is right: yours is the mean of the images' own log_std. An image "
            "that is too precise for the shared width pays more than one that is too vague saves: minimise the mean cost.",
        ),
        Misconception(
            "average the widths",
            _shared(lambda p: jnp.log(jnp.mean(p**-0.5, axis=0))),
            "your first log_std is {yours} where {right} is right: yours is the log of the images' mean standard "
            "deviation. It is the cost that is averaged, and only the mean precision enters that.",
        ),
        Misconception(
            "average the variances",
            _shared(lambda p: 0.5 * jnp.log(jnp.mean(1 / p, axis=0))),
            "your first log_std is {yours} where {right} is right: yours comes from the images' mean variance. The cost "
            "is linear in the precision, so average the precisions and invert afterwards.",
        ),
        Misconception(
            "the variance is the standard deviation",
            _shared(lambda p: -jnp.log(jnp.mean(p, axis=0))),
            "your first log_std is {yours}, twice {right}: that is the log variance.",
        ),
        Misconception(
            "the log_std is half the log precision",
            _shared(lambda p: 0.5 * jnp.log(jnp.mean(p, axis=0))),
            "your first log_std is {yours}, {right} with its sign turned: a precision is 1 / s^2, so log s is minus half "
            "its logarithm.",
        ),
        Misconception(
            "the half is not needed in the price",
            _shared(_right_width, lambda price, latents: 2 * price),
            "the widths are right; your price is {yours}, twice {right}: look for a missing 1/2. A log variance is two log "
            "standard deviations.",
        ),
        Misconception(
            "the price is what the mean image pays",
            _shared(_right_width, lambda price, latents: -price),
            "the widths are right; your price is {yours}, {right} with its sign turned: sharing cannot save anything. By "
            "Jensen the mean of the logarithms is at most the logarithm of the mean.",
        ),
        Misconception(
            "the price is a mean over the latents",
            _shared(_right_width, lambda price, latents: price / latents),
            "the widths are right; your price is {yours} where {right} is right: the latents' prices add up, so sum over "
            "them and average over the images only.",
        ),
        Misconception(
            "the price is in bits",
            _shared(_right_width, lambda price, latents: price / LN2),
            "the widths are right; your price is {yours}, {ratio} times {right}: 1.443 is 1/ln 2, so yours is in bits, "
            "and nats were asked.",
        ),
    ],
    notice="the best shared precision is the mean precision, so sharing makes q narrow: precise images set the pace. In the "
    "linear model all images are equally precise and the price is zero.",
    rtol=1e-3,
    atol=1e-5,
)


# 05.4


def _field_by_pixels(kernels: list[int], strides: list[int]) -> int:
    """Which pixels can change unit 0 of the last layer: walk back through the stack with a set."""
    seen = {0}
    for kernel, stride in zip(kernels[::-1], strides[::-1], strict=True):
        seen = {unit * stride + i for unit in seen for i in range(kernel)}
    return max(seen) - min(seen) + 1


def _forwards(kernels: list[int], strides: list[int], minus: int = 1, own: bool = False) -> int:
    width, apart = minus, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        width += (kernel - minus) * apart * (stride if own else 1)
        apart *= stride
    return width


def _backwards(kernels: list[int], strides: list[int]) -> int:
    width = 1
    for kernel, stride in zip(kernels[::-1], strides[::-1], strict=True):
        width = width * stride + kernel
    return width


FIELD = Exercise(
    id="05.4",
    title="How far does it see?",
    oracle=_field_by_pixels,
    cases=lambda rng: [
        ([4, 4], [2, 2]),
        ([5, 3, 3], [2, 1, 2]),
        ([3, 4, 5, 3], [1, 2, 3, 2]),
        ([7], [2]),
        ([4, 6, 5], [2, 4, 1]),
    ],
    misconceptions=[
        Misconception(
            "strides do not matter",
            lambda kernels, strides: 1 + sum(k - 1 for k in kernels),
            "yours is {yours} where {right} is right: you have forgotten that the units of a layer with stride 2 are 2 "
            "pixels apart, so the next window covers twice as much.",
        ),
        Misconception(
            "a layer's own stride widens its window",
            lambda kernels, strides: _forwards(kernels, strides, own=True),
            "yours is {yours} where {right} is right: you have multiplied by each layer's own stride. It says how far "
            "that layer's outputs are apart; its window lies on the outputs of the layers before it.",
        ),
        Misconception(
            "the lists run from the last layer to the first",
            lambda kernels, strides: _forwards(kernels[::-1], strides[::-1]),
            "yours is {yours} where {right} is right: that is the stack upside down. It is the strides of the layers "
            "nearer to the image that widen a window.",
        ),
        Misconception(
            "each layer adds its whole kernel",
            lambda kernels, strides: _forwards(kernels, strides, minus=0),
            "yours is {yours} where {right} is right: each layer adds kernel - 1 steps to the one place that is already "
            "there, not kernel.",
        ),
        Misconception(
            "each further output adds a whole kernel's step",
            lambda kernels, strides: _backwards(kernels, strides),
            "yours is {yours} where {right} is right: width units span (width - 1) strides and one kernel, and you took "
            "width strides. The first window needs no stride.",
        ),
        Misconception(
            "windows multiply",
            lambda kernels, strides: math.prod(kernels),
            "yours is {yours} where {right} is right: windows would multiply if they did not overlap, that is, if each "
            "stride equalled its kernel.",
        ),
        Misconception(
            "windows add up",
            lambda kernels, strides: sum(kernels),
            "yours is {yours} where {right} is right: you added the windows. They overlap, and the strides of the layers before widen each of them.",
        ),
    ],
    notice="depth adds, stride multiplies: that is why encoders have strides, and why two layers of 4x4 see 10 pixels.",
)

EXERCISES = [DESCEND, LOG_STD, SHARED_WIDTH, FIELD]
