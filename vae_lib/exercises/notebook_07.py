"""Exercises of notebook 07: a weight that comes and goes, Adam, luck, the loss for black and white.

The oracles are plain loops over single numbers.
"""

import math
from collections.abc import Callable

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

LN2 = math.log(2)

# 07.1


def _cyclical_oracle(step: int, period: int) -> float:
    """Walk there, one step at a time."""
    place = 0
    for _ in range(step):
        place = 0 if place == period - 1 else place + 1
    return 1.0 if 2 * place >= period else 2 * place / period


CYCLE = Exercise(
    id="07.1",
    title="A weight that comes and goes",
    oracle=_cyclical_oracle,
    cases=lambda rng: [
        *((int(60 * tenths / 10), 60) for tenths in (0, 2, 4, 5, 7, 9)),
        (60, 60),
        (75, 60),
        *((int(rng.integers(400, 900)), 2 * int(rng.integers(30, 120))) for _ in range(4)),
    ],
    misconceptions=[
        Misconception(
            "one warm-up is enough",
            lambda step, period: min(1.0, 2 * step / period),
            "the first cycle is right; later yours is {yours} where {right} is right: the weight falls back to 0 at the start "
            "of every period, so only the step within the period counts.",
        ),
        Misconception(
            "the rise takes the whole period",
            lambda step, period: step % period / period,
            "yours is {yours} where {right} is right (ratio {ratio}): the rise is over after half a period, then the weight "
            "rests at 1.",
        ),
        Misconception(
            "// divides",
            lambda step, period: float(2 * (step % period) // period),
            "yours is {yours} where {right} is right: // rounds the quotient down to a whole number, so nothing rises. Use /.",
        ),
        Misconception(
            "what rises must sink",
            lambda step, period: 1 - abs(2 * (step % period) / period - 1),
            "the rise is right; then yours is {yours} where {right} is right: in the second half the weight rests at 1, "
            "it does not sink.",
        ),
        Misconception(
            "nothing stops the rise",
            lambda step, period: 2 * (step % period) / period,
            "the rise is right, but it goes on to {yours} where {right} is right: a weight above 1 charges more than the "
            "code length. Cut it off.",
        ),
        Misconception(
            "one warm-up over the whole period",
            lambda step, period: min(1.0, step / period),
            "yours is {yours} where {right} is right: the rise should be over after half a period, and it should begin again "
            "with each period.",
        ),
        Misconception(
            "steps are counted from 1",
            lambda step, period: min(1.0, 2 * (step % period + 1) / period),
            "yours is {yours} where {right} is right: one step ahead. Steps are counted from 0, and each period begins at 0.",
        ),
        Misconception(
            "the rise begins again after half a period",
            lambda step, period: 2 * (step % (period // 2)) / period,
            "the rise is right; then yours is {yours} where {right} is right: you took the remainder by *half* a period, so it "
            "rises again where it should rest at 1.",
        ),
        Misconception(
            "// gives the step within the period",
            lambda step, period: min(1.0, 2 * (step // period) / period),
            "yours is {yours} where {right} is right: // counts the periods that are over. The step within the period is the "
            "remainder, %.",
        ),
    ],
    notice="the weight ends at 1, so the last steps minimise a code length, and the final loss is a number of bits.",
)


# 07.2

B1, B2, EPSILON = 0.9, 0.999, 1e-8


def _adam_oracle(gradients: np.ndarray, learning_rate: float) -> np.ndarray:
    return _adam(gradients, learning_rate)


def _adam(
    gradients: np.ndarray,
    learning_rate: float,
    correct: Callable[[float, float, int], float] = lambda moment, b, t: moment / (1 - b**t),
    move: Callable[[float, float], float] = lambda first, second: first / (math.sqrt(second) + EPSILON),
) -> np.ndarray:
    """Total change, weight by weight and step by step; what may go wrong is passed in."""
    change = np.zeros(gradients.shape[1])
    for i, column in enumerate(np.asarray(gradients, dtype=np.float64).T):
        first = second = 0.0
        for t, g in enumerate(column.tolist(), start=1):
            first = B1 * first + (1 - B1) * g
            second = B2 * second + (1 - B2) * g * g
            change[i] -= learning_rate * move(correct(first, B1, t), correct(second, B2, t))
    return change


ADAM = Exercise(
    id="07.2",
    title="Adam by hand",
    oracle=_adam_oracle,
    cases=lambda rng: [
        ((rng.normal(0.5, 1, (steps, 3)) * scale).astype(np.float32), learning_rate)
        for steps, scale, learning_rate in ((1, 1, 0.1), (2, 10, 0.01), (7, [0.1, 1, 100], 0.002), (3, 1e-8, 0.1))
    ],
    misconceptions=[
        Misconception(
            "the averages need no correction",
            lambda g, learning_rate: _adam(g, learning_rate, correct=lambda moment, b, t: moment),
            "yours is {yours} where {right} is right (ratio {ratio}): the averages begin at zero and are too small at first, the "
            "squares more than the gradients. Divide each by 1 - b^t.",
        ),
        Misconception(
            "divide by the mean square",
            lambda g, learning_rate: _adam(g, learning_rate, move=lambda first, second: first / (second + EPSILON)),
            "yours is {yours} where {right} is right: without the square root a gradient ten times larger would move the weight "
            "ten times *less*. The step should not depend on the gradient's size.",
        ),
        Misconception(
            "the loss is climbed",
            lambda g, learning_rate: -_adam(g, learning_rate),
            "yours is {yours} where {right} is right: the size is right, the sign is not. Go against the gradient.",
        ),
        Misconception(
            "only the last move counts",
            lambda g, learning_rate: _adam(g, learning_rate) - _adam(g[:-1], learning_rate),
            "yours is {yours} where {right} is right: with one gradient you are right; with more, you return the last move. The "
            "change of the weights is the sum of all moves.",
        ),
        Misconception(
            "Adam is gradient descent",
            lambda g, learning_rate: -learning_rate * np.sum(g, axis=0, dtype=np.float64),
            "yours is {yours} where {right} is right: that is plain gradient descent. Adam divides by the root of the running "
            "mean square.",
        ),
        Misconception(
            "the corrected means are the running means",
            lambda g, learning_rate: _fed_back(g, learning_rate),
            "the first move is right; then yours is {yours} where {right} is right: the correction is for the move only. Keep m and v "
            "themselves, uncorrected, for the next step.",
        ),
        Misconception(
            "the two memories are swapped",
            lambda g, learning_rate: _swapped(g, learning_rate),
            "the first move is right; then yours is {yours} where {right} is right: 0.9 is the memory of the gradients, 0.999 "
            "that of their squares.",
        ),
        Misconception(
            "only the gradients' mean needs a correction",
            lambda g, learning_rate: _adam(g, learning_rate, lambda m, b, t: m / (1 - b**t) if b == B1 else m),
            "yours is {yours} where {right} is right (ratio {ratio}): you corrected m only. v begins at zero as well, and lacks "
            "more: divide it by 1 - 0.999^t.",
        ),
        Misconception(
            "only the squares' mean needs a correction",
            lambda g, learning_rate: _adam(g, learning_rate, lambda m, b, t: m / (1 - b**t) if b == B2 else m),
            "yours is {yours} where {right} is right (ratio {ratio}): you corrected v only. m begins at zero as well: divide it by "
            "1 - 0.9^t.",
        ),
        Misconception(
            "the correction is always that of the first step",
            lambda g, learning_rate: _adam(g, learning_rate, lambda m, b, t: m / (1 - b)),
            "the first move is right; then yours is {yours} where {right} is right: the correction shrinks as t grows, 1 - b^t, "
            "with the power t.",
        ),
        Misconception(
            "t begins at 0",
            lambda g, learning_rate: np.full(g.shape[1], np.nan),
            "yours is {yours} where {right} is right: do you count from t = 0? Then 1 - b^t is 0, and you divide by it. Count from 1.",
        ),
        Misconception(
            "the move follows the last gradient",
            lambda g, learning_rate: _memoryless(g, learning_rate),
            "the first move is right; then yours is {yours} where {right} is right: above the root stands m, the running mean of "
            "the gradients, not the last gradient alone.",
        ),
        Misconception(
            "epsilon stands under the root",
            lambda g, learning_rate: _adam(g, learning_rate, move=lambda m, v: m / math.sqrt(v + EPSILON)),
            "yours is {yours} where {right} is right: with gradients as small as 1e-8 it matters where the 1e-8 stands. It is "
            "added to the root, not under it.",
        ),
    ],
    notice="the first move is the learning rate times the gradient's sign, whatever its size. So a loss 784 times smaller "
    "trains the same net, and a silent beta does not show in how fast it learns.",
)


def _fed_back(gradients: np.ndarray, learning_rate: float) -> np.ndarray:
    change = np.zeros(gradients.shape[1])
    first, second = change.copy(), change.copy()
    for t, g in enumerate(np.asarray(gradients, dtype=np.float64), start=1):
        first = (B1 * first + (1 - B1) * g) / (1 - B1**t)
        second = (B2 * second + (1 - B2) * g**2) / (1 - B2**t)
        change -= learning_rate * first / (np.sqrt(second) + EPSILON)
    return change


def _swapped(gradients: np.ndarray, learning_rate: float) -> np.ndarray:
    change = np.zeros(gradients.shape[1])
    first, second = change.copy(), change.copy()
    for t, g in enumerate(np.asarray(gradients, dtype=np.float64), start=1):
        first = B2 * first + (1 - B2) * g
        second = B1 * second + (1 - B1) * g * g
        change -= learning_rate * first / (1 - B2**t) / (np.sqrt(second / (1 - B1**t)) + EPSILON)
    return change


def _memoryless(gradients: np.ndarray, learning_rate: float) -> np.ndarray:
    change = np.zeros(gradients.shape[1])
    second = change.copy()
    for t, g in enumerate(np.asarray(gradients, dtype=np.float64), start=1):
        second = B2 * second + (1 - B2) * g**2
        change -= learning_rate * g / (np.sqrt(second / (1 - B2**t)) + EPSILON)
    return change


# 07.3


def _paired_oracle(bits_a: np.ndarray, bits_b: np.ndarray) -> tuple[float, float]:
    differences = [float(a) - float(b) for a, b in zip(bits_a, bits_b, strict=True)]
    n = len(differences)
    mean = math.fsum(differences) / n
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, math.sqrt(variance / n)


def _two_models(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits per dimension of two models: images differ much, the models little."""
    images = rng.normal(3.5, 0.8, n)
    return images + rng.normal(0.12, 0.1, n), images + rng.normal(0, 0.1, n)


PAIRED = Exercise(
    id="07.3",
    title="Better, or lucky?",
    oracle=_paired_oracle,
    cases=lambda rng: [_two_models(rng, n) for n in (12, 30)],
    misconceptions=[
        Misconception(
            "the two models saw different images",
            lambda a, b: (
                float(np.mean(a - b)),
                float(np.sqrt(np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b))),
            ),
            "your mean is right; your error is {yours} where {right} is right (ratio {ratio}): you added the scatter of both models, "
            "most of which is the images', and cancels in the difference, image by image.",
        ),
        Misconception(
            "a standard deviation is a standard error",
            lambda a, b: (float(np.mean(a - b)), float(np.std(a - b, ddof=1))),
            "your mean is right; your error is {yours} where {right} is right (ratio {ratio}, the root of the number of images): that is how far "
            "one image strays. The mean of n images strays less.",
        ),
        Misconception(
            "the variance of the mean is its error",
            lambda a, b: (float(np.mean(a - b)), float(np.var(a - b, ddof=1) / len(a))),
            "your mean is right; your error is {yours} where {right} is right: that is the square of the standard error.",
        ),
        Misconception(
            "errors shrink with n",
            lambda a, b: (float(np.mean(a - b)), float(np.std(a - b, ddof=1) / len(a))),
            "your mean is right; your error is {yours} where {right} is right: the mean's variance shrinks with the number of images, so "
            "its standard deviation with the root.",
        ),
        Misconception(
            "NumPy's std divides by n - 1",
            lambda a, b: (float(np.mean(a - b)), float(np.std(a - b) / np.sqrt(len(a)))),
            "your mean is right; your error is {yours} where {right} is right (ratio {ratio}): NumPy divides by n unless you say ddof=1.",
        ),
        Misconception(
            "n - 1 belongs under the root of the standard error too",
            lambda a, b: (float(np.mean(a - b)), float(np.std(a - b, ddof=1) / np.sqrt(len(a) - 1))),
            "your mean is right; your error is {yours} where {right} is right (ratio {ratio}): n - 1 belongs in the variance only. The "
            "mean is over n images, so divide by the root of n.",
        ),
        Misconception(
            "b minus a",
            lambda a, b: (float(np.mean(b - a)), float(np.std(b - a, ddof=1) / np.sqrt(len(a)))),
            "your mean is {yours} where {right} is right: turned around. Asked for is what a costs more than b.",
        ),
        Misconception(
            "the size of each difference",
            lambda a, b: (
                float(np.mean(np.abs(a - b))),
                float(np.std(np.abs(a - b), ddof=1) / np.sqrt(len(a))),
            ),
            "your mean is {yours} where {right} is right, too large: an image on which b is the worse one must count against b, "
            "so keep the sign of each difference.",
        ),
        Misconception(
            "the error comes first",
            lambda a, b: _paired_oracle(a, b)[::-1],
            "your first number is {yours} where {right} is right: the two are there, the wrong way round. First the mean, then its "
            "standard error.",
        ),
        Misconception(
            "asked for is the sum",
            lambda a, b: tuple(len(a) * number for number in _paired_oracle(a, b)),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of images): that is the sum over the images; asked "
            "for is their mean.",
        ),
        Misconception(
            "a variance is divided by the root of n",
            lambda a, b: (float(np.mean(a - b)), float(np.var(a - b, ddof=1) / np.sqrt(len(a)))),
            "your mean is right; your error is {yours} where {right} is right: you divided the variance by the root of n. Divide "
            "the standard deviation by the root, or the variance by n and take the root.",
        ),
    ],
    notice="images differ far more than models do. Paired, a hundredth of a bit can be told apart; unpaired, it drowns. But this is "
    "luck of the images only: for luck of the training, train again with other seeds.",
)


# 07.4


def _loss_oracle(x, posterior_mean, posterior_log_std, epsilon, decode) -> float:
    batch, pixels = x.shape
    z = np.array(
        [
            [m + math.exp(s) * e for m, s, e in zip(*rows, strict=True)]
            for rows in zip(posterior_mean.tolist(), posterior_log_std.tolist(), epsilon.tolist(), strict=True)
        ]
    )
    bits = 0.0
    for image, logits in zip(x.tolist(), np.asarray(decode(z)).tolist(), strict=True):
        for pixel, logit in zip(image, logits, strict=True):
            against = -logit if pixel else logit  # above 0: the decoder bets on the other colour
            bits += (max(against, 0.0) + math.log1p(math.exp(-abs(against)))) / math.log(2)
    for m, s in zip(posterior_mean.ravel().tolist(), posterior_log_std.ravel().tolist(), strict=True):
        bits += (m * m + math.exp(2 * s) - 1 - 2 * s) / 2 / math.log(2)
    return bits / (batch * pixels)


def _binary_case(rng: np.random.Generator, batch: int, pixels: int, latent_dim: int, sure: float = 1.0) -> tuple:
    """`sure` multiplies the logits; beyond 700 their exponential overflows, in double precision as well."""
    weights = rng.normal(0, sure, (latent_dim, pixels))
    mean, epsilon = rng.normal(0, 1, (2, batch, latent_dim))
    log_std = rng.uniform(-1.2, -0.2, (batch, latent_dim))
    return rng.integers(0, 2, (batch, pixels)), mean, log_std, epsilon, lambda z: z @ weights


def _known_if_capped(loss: Callable, *arguments) -> object:
    """What `loss` returns; 0 where it is far below a large price, so that any cap on a pixel's price looks alike."""
    value, right = loss(*arguments), _loss_oracle(*arguments)
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind == "f"
    return 0.0 if is_number and right > 100 and abs(value) < right / 10 else value


def _terms(x, mean, log_std, epsilon, decode, std=np.exp) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each pixel, (batch, pixels), and of each latent, (batch, latent_dim)."""
    logits = np.asarray(decode(mean + std(log_std) * epsilon))
    return np.logaddexp(0, logits) - x * logits, (mean**2 + np.exp(2 * log_std) - 1) / 2 - log_std


def _wrong_loss(combine: Callable[[np.ndarray, np.ndarray], float], **options) -> Callable:
    """A wrong answer that puts the two terms together in its own way."""

    def wrong(*arguments):
        distortion, rate = _terms(*arguments, **options)
        return float(combine(distortion, rate))

    return wrong


def _white_only(x, mean, log_std, epsilon, decode) -> float:
    distortion, rate = _terms(x, mean, log_std, epsilon, decode)
    return float((np.sum(x * distortion) + rate.sum()) / x.size / LN2)


def _priced(price: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable:
    """A wrong answer whose pixels cost what `price` says of pixels and logits."""

    def wrong(x, mean, log_std, epsilon, decode) -> float:
        with np.errstate(all="ignore"):
            distortion = price(x, np.asarray(decode(mean + np.exp(log_std) * epsilon)))
        rate = _terms(x, mean, log_std, epsilon, decode)[1]
        return float((distortion.sum() + rate.sum()) / x.size / LN2)

    return wrong


def _log_probabilities(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of white and of black, straight from the formula: they are lost where a probability rounds to 0."""
    white = 1 / (1 + np.exp(-logits))
    return np.log(white), np.log(1 - white)


def _both_prices(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    log_white, log_black = _log_probabilities(logits)
    return -x * log_white - (1 - x) * log_black


BLACK_AND_WHITE = Exercise(
    id="07.4",
    title="The whole loss, for black and white",
    oracle=_loss_oracle,
    cases=lambda rng: [_binary_case(rng, 4, 9, 2), _binary_case(rng, 3, 16, 5), _binary_case(rng, 4, 50, 4, sure=800)],
    probe=_known_if_capped,
    misconceptions=[
        Misconception(
            "the mean is the latent",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / d.size / LN2, std=np.zeros_like),
            "yours is {yours} where {right} is right: that is what comes out with z = posterior_mean. The KL is paid for a noisy z, "
            "so the pixels must live with a noisy z: use epsilon.",
        ),
        Misconception(
            "log_std is a log variance",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / d.size / LN2, std=lambda log_std: np.exp(log_std / 2)),
            "yours is {yours} where {right} is right: your noise has the root of the standard deviation that was given. No division "
            "by 2 in the exponent.",
        ),
        Misconception(
            "mean over the pixels, sum over the latents",
            _wrong_loss(lambda d, r: (d.mean() + r.sum(axis=1).mean()) / LN2),
            "yours is {yours} where {right} is right: you averaged the pixels and then charged a whole image's KL to each pixel. "
            "Divide both terms by the number of pixels, or neither.",
        ),
        Misconception(
            "each term is a mean over its own dimensions",
            _wrong_loss(lambda d, r: (d.mean() + r.mean()) / LN2),
            "yours is {yours} where {right} is right: you divided the KL by the number of latents. Both terms are bits of one file, and "
            "are divided by the number of pixels.",
        ),
        Misconception(
            "the loss is in nats",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / d.size),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
        Misconception(
            "the KL is subtracted",
            _wrong_loss(lambda d, r: (d.sum() - r.sum()) / d.size / LN2),
            "yours is {yours} where {right} is right, too small by twice the rate: the ELBO subtracts the KL, so the *negative* ELBO adds it.",
        ),
        Misconception(
            "the loss is for the batch",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / d.shape[1] / LN2),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of images): you added up the batch; take its mean.",
        ),
        Misconception(
            "only white pixels have a price",
            lambda x, mean, log_std, epsilon, decode: _white_only(x, mean, log_std, epsilon, decode),
            "yours is {yours} where {right} is right: x log p is the price of the white pixels. A black pixel costs -log(1 - p).",
        ),
        Misconception(
            "the reconstruction is all",
            _wrong_loss(lambda d, r: d.mean() / LN2),
            "yours is {yours} where {right} is right: the pixels alone. The latent has to be sent as well.",
        ),
        Misconception(
            "the loss is for an image",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / len(d) / LN2),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of pixels): these are bits per image; divide by its "
            "pixels.",
        ),
        Misconception(
            "the loss is for an image, in nats",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / len(d)),
            "yours is {yours} where {right} is right: these are nats per image. Divide by the pixels, and by ln 2.",
        ),
        Misconception(
            "the rate is a mean over the latents",
            _wrong_loss(lambda d, r: (d.sum() + r.mean(axis=1).sum()) / d.size / LN2),
            "yours is {yours} where {right} is right, too small: you averaged the KL over the latents. Each latent has to be paid: sum.",
        ),
        Misconception(
            "a mean over the pixels is divided by the pixels again",
            _wrong_loss(lambda d, r: (d.mean() + r.sum(axis=1).mean()) / d.shape[1] / LN2),
            "yours is {yours} where {right} is right, too small: you averaged the pixels and then divided by their number once "
            "more. Sum them first.",
        ),
        Misconception(
            "log_std is the standard deviation",
            _wrong_loss(lambda d, r: (d.sum() + r.sum()) / d.size / LN2, std=lambda log_std: log_std),
            "yours is {yours} where {right} is right: your noise is multiplied by log_std itself. The standard deviation is its "
            "exponential.",
        ),
        Misconception(
            "the KL has no 1/2",
            _wrong_loss(lambda d, r: (d.sum() + 2 * r.sum()) / d.size / LN2),
            "yours is {yours} where {right} is right: your KL is twice too large. All of its terms are under the 1/2, but for "
            "-log_std, which is half of -2 log_std.",
        ),
        Misconception(
            "the logit is that of black",
            _priced(lambda x, logits: np.logaddexp(0, logits) - (1 - x) * logits),
            "yours is {yours} where {right} is right: black and white have changed places. The logit is that of a 1.",
        ),
        Misconception(
            "a squared error is a price",
            _priced(lambda x, logits: (x - (1 + np.tanh(logits / 2)) / 2) ** 2),
            "yours is {yours} where {right} is right: the pixels have a squared error, which is no code length here. The price of a "
            "pixel is -log p(x_i | z).",
        ),
        Misconception(
            "x l is added",
            _priced(lambda x, logits: np.logaddexp(0, logits) + x * logits),
            "yours is {yours} where {right} is right: the sign of x_i l_i is wrong. A white pixel is cheap where the logit is large.",
        ),
        Misconception(
            "a probability may be kept away from 0",
            _priced(lambda x, logits: np.minimum(np.logaddexp(0, logits) - x * logits, 16)),
            "while the logits are small you are right; with logits in the hundreds your price is far below {right}: a probability "
            "that is clipped, or has a small number added, costs a few dozen bits at most. Do the algebra instead: the first hint has it.",
        ),
        Misconception(
            "0 log 0 is 0",
            _priced(_both_prices),
            "while the logits are small you are right; with logits in the hundreds yours is {yours} where {right} is right: p or "
            "1 - p rounds to 0 there, and 0 times log 0 is no number. Do the algebra before you compute: the first hint has it.",
        ),
        Misconception(
            "a probability is never 0, an exponential never infinite",
            _priced(lambda x, logits: -np.where(x == 1, *_log_probabilities(logits))),
            "while the logits are small you are right; with logits in the hundreds yours is {yours} where {right} is right: a "
            "probability rounds to 0 there, or e^l is too large for a float. softplus computes log(1 + e^l) without that.",
        ),
    ],
    notice="the binary cross-entropy *is* a code length here, because the pixels are black or white. On grey levels the same formula "
    "still runs and is no code length any more (notebook 06).",
)


EXERCISES = [CYCLE, ADAM, PAIRED, BLACK_AND_WHITE]
