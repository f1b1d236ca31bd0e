"""Exercises of notebook 06: the best Gaussian, a silent sigma, a discretised Laplace, painting.

The oracles are searches, loops and sums over cases; none uses the form that the learner derives.
"""

import math

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

LN2 = math.log(2)


# 06.1


def _gaussian_bits_by_search(x_uint8: np.ndarray, prediction: np.ndarray) -> float:
    """Price at each of many sigmas around the error, the smallest of them."""
    errors = [int(a) - float(b) for a, b in zip(np.ravel(x_uint8), np.ravel(prediction), strict=True)]
    squares = sum(e * e for e in errors) / len(errors)

    def price(log_sigma: float) -> float:
        return squares / (2 * math.exp(2 * log_sigma)) + log_sigma + 0.5 * math.log(2 * math.pi)

    low, high = -8.0, 8.0
    for _ in range(80):  # ternary search: the price has a single valley
        third = (high - low) / 3
        low, high = (low, high - third) if price(low + third) < price(high - third) else (low + third, high)
    return price((low + high) / 2) / LN2


def _biased_predictions(rng: np.random.Generator) -> list[tuple]:
    def draw(*shape):
        x_uint8 = rng.integers(0, 256, shape).astype(np.uint8)
        return x_uint8, x_uint8 + rng.normal(rng.uniform(4, 9), rng.uniform(5, 20), shape)

    return [draw(40), draw(3, 28, 28, 1), draw(5, 6)]


def _errors(x_uint8: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.asarray(x_uint8, float) - np.asarray(prediction, float)


def _bits_with_mean_absolute_error(x_uint8: np.ndarray, prediction: np.ndarray) -> float:
    errors = _errors(x_uint8, prediction)
    sigma = np.mean(np.abs(errors))
    return (np.mean(errors**2) / (2 * sigma**2) + np.log(sigma) + 0.5 * np.log(2 * np.pi)) / LN2


BEST_GAUSSIAN = Exercise(
    id="06.1",
    title="The best Gaussian",
    oracle=_gaussian_bits_by_search,
    cases=_biased_predictions,
    misconceptions=[
        Misconception(
            "a density on the axis from 0 to 1 is already a probability",
            lambda x, y: 0.5 * np.log2(2 * np.pi * np.e * np.mean((_errors(x, y) / 255) ** 2)),
            "yours is {yours} where {right} is right, log2(255) = 7.99 bits less: on the axis from 0 to 1 a grey level "
            "is 1/255 wide, and the density has to be multiplied by that.",
        ),
        Misconception(
            "the error is the standard deviation of the residual",
            lambda x, y: 0.5 * np.log2(2 * np.pi * np.e * np.var(_errors(x, y))),
            "yours is {yours} where {right} is right: a little too good. These predictions are too bright on average, "
            "and a standard deviation takes that average away first; nobody tells the decoder.",
        ),
        Misconception(
            "at the best sigma the squared error costs nothing",
            lambda x, y: 0.5 * np.log2(2 * np.pi * np.mean(_errors(x, y) ** 2)),
            "yours is {yours} where {right} is right, 0.72 bits less: the squared error over 2 sigma^2 is still there. "
            "At the best sigma it is 1/2 nat, whatever the error.",
        ),
        Misconception(
            "a logarithm is in bits",
            lambda x, y: 0.5 * np.log(2 * np.pi * np.e * np.mean(_errors(x, y) ** 2)),
            "yours is {yours}, 0.693 times {right}: these are nats.",
        ),
        Misconception(
            "the mean squared error is sigma",
            lambda x, y: np.log2(np.sqrt(2 * np.pi * np.e) * np.mean(_errors(x, y) ** 2)),
            "yours is {yours} where {right} is right: the mean squared error is sigma squared; you took it for sigma.",
        ),
        Misconception(
            "the mean absolute error is sigma",
            _bits_with_mean_absolute_error,
            "yours is {yours} where {right} is right, a little dearer: you took the mean absolute error for sigma. The best "
            "sigma is the root of the mean squared error.",
        ),
        Misconception(
            "the constant does not matter",
            lambda x, y: 0.5 * np.log2(np.e * np.mean(_errors(x, y) ** 2)),
            "yours is {yours} where {right} is right, 1.33 bits less: 1/2 log(2 pi) is missing. It moves no sigma, but it is "
            "part of the price.",
        ),
        Misconception(
            "the price is of the whole image",
            lambda x, y: np.size(x) * 0.5 * np.log2(2 * np.pi * np.e * np.mean(_errors(x, y) ** 2)),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of pixels): asked for are bits per pixel.",
        ),
    ],
    notice="only the error is left in the formula: one bit per pixel for each halving of it. Wherever a paper reports "
    "PSNR, you can now read a price: 6.02 dB are one bit per pixel.",
)


# 06.2


def _sigma_by_slopes(pixels: int, latents: int, mean_of_squares: bool, mean_of_kl: bool, kl_weight: float) -> float:
    """Build the loss, measure how it answers to one unit of summed squares and of summed KL, and compare."""

    def loss(squares: np.ndarray, kl: np.ndarray) -> float:
        reduced = np.mean(squares) if mean_of_squares else np.sum(squares)
        return float(reduced + kl_weight * (np.mean(kl) if mean_of_kl else np.sum(kl)))

    nothing = np.zeros(pixels), np.zeros(latents)
    one_grey_level = np.zeros(pixels)
    one_grey_level[0] = (2 / 255) ** 2
    one_nat = np.zeros(latents)
    one_nat[0] = 1.0
    price_of_square = (loss(one_grey_level, nothing[1]) - loss(*nothing)) / (loss(nothing[0], one_nat) - loss(*nothing))
    return math.sqrt(1 / (2 * price_of_square))  # an error of one level costs 1 / (2 sigma^2) nats


def _recipes(rng: np.random.Generator) -> list[tuple]:
    return [
        (int(rng.integers(100, 5000)), int(rng.integers(3, 200)), squares, kl, float(rng.uniform(0.001, 0.3)))
        for squares in (True, False)
        for kl in (True, False)
    ]


def _sigma(pixels, latents, mean_of_squares, mean_of_kl, kl_weight):
    a = 1 / pixels if mean_of_squares else 1.0
    b = kl_weight / latents if mean_of_kl else kl_weight
    return 127.5 * math.sqrt(b / (2 * a))


SILENT_SIGMA = Exercise(
    id="06.2",
    title="Read the sigma",
    oracle=_sigma_by_slopes,
    cases=_recipes,
    misconceptions=[
        Misconception(
            "the Gaussian's exponent has no 1/2",
            lambda *recipe: math.sqrt(2) * _sigma(*recipe),
            "yours is {yours}, the square root of 2 times {right}: the squared error is divided by 2 sigma^2, "
            "not by sigma^2.",
        ),
        Misconception(
            "one unit is 255 grey levels",
            lambda *recipe: 2 * _sigma(*recipe),
            "yours is {yours}, exactly twice {right}: these images lie in [-1, 1], where a unit is 127.5 grey levels.",
        ),
        Misconception(
            "a mean over the latents changes nothing",
            lambda pixels, latents, squares, kl, weight: _sigma(pixels, latents, squares, False, weight),
            "yours is {yours} where {right} is right, too large by the square root of the number of latents: a KL "
            "averaged over its dimensions weighs less than one that is summed.",
        ),
        Misconception(
            "a mean over the pixels changes nothing",
            lambda pixels, latents, squares, kl, weight: _sigma(pixels, latents, False, kl, weight),
            "yours is {yours} where {right} is right, too small by the square root of the number of pixels: this is "
            "the silent bug itself. A mean over n pixels is 1/n of the sum.",
        ),
        Misconception(
            "the answer is the variance",
            lambda *recipe: _sigma(*recipe) ** 2,
            "yours is {yours}, the square of {right}: that is sigma^2, in squared grey levels.",
        ),
        Misconception(
            "b / 2a is sigma",
            lambda *recipe: _sigma(*recipe) ** 2 / 127.5,
            "yours is {yours} where {right} is right: b / 2a is sigma squared; the square root comes before the grey levels.",
        ),
        Misconception(
            "sigma is counted on the axis from -1 to 1",
            lambda *recipe: _sigma(*recipe) / 127.5,
            "yours is {yours} where {right} is right: that is sigma on the axis from -1 to 1. One unit there is 127.5 grey levels.",
        ),
        Misconception(
            "sigma^2 is a over b",
            lambda *recipe: 127.5**2 / 2 / _sigma(*recipe),
            "yours is {yours} where {right} is right: your fraction is upside down. A small factor before the squares means a "
            "*large* sigma: sigma^2 = b / 2a.",
        ),
        Misconception(
            "a mean is n times the sum",
            lambda pixels, latents, squares, kl, weight: _sigma(
                *(pixels, latents, False, False),
                weight * (latents if kl else 1) / (pixels if squares else 1),
            ),
            "yours is {yours} where {right} is right: you multiplied by the number of entries. A mean over n of them is 1/n times "
            "their sum.",
        ),
        Misconception(
            "True means summed",
            lambda pixels, latents, squares, kl, weight: _sigma(pixels, latents, not squares, not kl, weight),
            "yours is {yours} where {right} is right: you read the flags the other way round. True stands for a mean.",
        ),
        Misconception(
            "the KL's weight changes nothing",
            lambda pixels, latents, squares, kl, weight: _sigma(pixels, latents, squares, kl, 1.0),
            "yours is {yours} where {right} is right: the weight of the KL is missing. It is a part of b.",
        ),
    ],
    notice="every weighted loss is the ELBO of some decoder; the only question is whether you would have chosen that "
    "decoder. Compare the sigma that you read with the error that the paper reports.",
)


# 06.3


def _laplace_by_cases(x_uint8: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """One level at a time, by where the mean lies; each mass with the factor exp(-distance / scale) taken out."""
    log_p = []
    for level, mu, b in zip(*(np.ravel(a).tolist() for a in (x_uint8, mean, scale)), strict=True):
        lower, upper = level - 0.5, level + 0.5
        if level in (0, 255):
            inward = (upper - mu) / b if level == 0 else (mu - lower) / b  # how far the mean is outside the open bin
            log_p.append(-math.log(2) + inward if inward < 0 else math.log1p(-0.5 * math.exp(-inward)))
        elif lower < mu < upper:
            halves = (-math.expm1((mu - upper) / b), -math.expm1((lower - mu) / b))
            log_p.append(math.log(0.5 * sum(halves)))
        else:
            log_p.append(-(abs(level - mu) - 0.5) / b - math.log(2) + math.log(-math.expm1(-1 / b)))
    return np.array(log_p)


def _laplace_cases(rng: np.random.Generator) -> list[tuple]:
    x_uint8 = rng.integers(1, 255, 40).astype(np.uint8)
    near = x_uint8 + rng.uniform(-20, 20, 40)
    x_uint8[:4], near[:4] = [0, 0, 255, 255], [-5.0, 12.0, 240.0, 262.0]
    near[4:12] = x_uint8[4:12] + rng.uniform(-0.4, 0.4, 8)  # the mean within the pixel's own bin
    far = np.array([230, 20, 255, 0], np.uint8), np.array([50.0, 200.0, 30.0, 250.0]), np.array([4.0, 4.0, 4.0, 5.0])
    farther = (*far[:2], np.array([0.17, 0.16, 0.2, 0.22]))  # a thousand scales away, where even exp(t) is 0
    return [(x_uint8, near, rng.uniform(0.5, 12, 40)), far, farther]


def _laplace_cdf(t):
    return np.where(t < 0, 0.5 * np.exp(np.minimum(t, 0)), 1 - 0.5 * np.exp(-np.maximum(t, 0)))


def _laplace_ends(x_uint8, mean, scale, half=0.5, open_ends=True):
    """The bin's two ends in scales, moved to the side of the mean where F is small."""
    level = np.asarray(x_uint8, float)
    lower, upper = (level - half - mean) / scale, (level + half - mean) / scale
    if open_ends:
        lower, upper = np.where(level == 0, -np.inf, lower), np.where(level == 255, np.inf, upper)
    mirror = lower + upper > 0
    return np.where(mirror, -upper, lower), np.where(mirror, -lower, upper)


def _laplace(x_uint8, mean, scale, half=0.5, open_ends=True):
    lower, upper = _laplace_ends(x_uint8, mean, scale, half, open_ends)
    left = np.minimum(upper, 0)
    beside = left - LN2 + np.log(-np.expm1(np.minimum(lower - left, -1e-9)))
    around = np.log(1 - 0.5 * np.exp(-np.maximum(upper, 0)) - 0.5 * np.exp(np.minimum(lower, 0)))
    return np.where(upper <= 0, beside, around)


def _laplace_mirrored(x_uint8, mean, scale):
    lower, upper = _laplace_ends(x_uint8, mean, scale)
    with np.errstate(divide="ignore"):
        return np.log(_laplace_cdf(upper) - _laplace_cdf(lower))


def _laplace_one_sided(x_uint8, mean, scale):
    lower, upper = _laplace_ends(x_uint8, mean, scale)
    return upper - LN2 + np.log1p(-np.exp(lower - upper))


def _laplace_straight(x_uint8, mean, scale):
    level = np.asarray(x_uint8, float)
    lower = np.where(level == 0, -np.inf, (level - 0.5 - mean) / scale)
    upper = np.where(level == 255, np.inf, (level + 0.5 - mean) / scale)
    with np.errstate(divide="ignore"):
        return np.log(_laplace_cdf(upper) - _laplace_cdf(lower))


LAPLACE = Exercise(
    id="06.3",
    title="Another tail",
    oracle=_laplace_by_cases,
    cases=_laplace_cases,
    misconceptions=[
        Misconception(
            "density times width is the bin's probability",
            lambda x, mean, scale: -np.abs(np.asarray(x, float) - mean) / scale - np.log(2 * scale),
            "yours is {yours} where {right} is right. Yours is the log density at the middle of the bin, which is no "
            "probability: take the difference of F at the bin's two ends.",
        ),
        Misconception(
            "the first and the last bin are like the others",
            lambda x, mean, scale: _laplace(x, mean, scale, open_ends=False),
            "inside you are right; at level 0 or 255 yours is {yours} where {right} is right: those bins have no outer "
            "end, or the mass out there would be wasted.",
        ),
        Misconception(
            "a bin reaches a whole level to each side",
            lambda x, mean, scale: _laplace(x, mean, scale, half=1.0),
            "yours is {yours} where {right} is right. Your bins are two levels wide, so neighbours overlap and the 256 "
            "probabilities sum to about two: half a level to each side.",
        ),
        Misconception(
            "F(upper) - F(lower) is precise everywhere",
            _laplace_straight,
            "near the mean you are right; far above it yours is {yours} where {right} is right. There F rounds to 1 at "
            "both ends and the difference is lost: use the symmetry, and compute on the side where F is small.",
        ),
        Misconception(
            "on the side where F is small, its difference is always there",
            _laplace_mirrored,
            "near the mean and in both tails you are right; a thousand scales away yours is {yours} where {right} is right. "
            "There exp itself is 0: take the larger exponent out of the logarithm before you compute.",
        ),
        Misconception(
            "a log probability is a price in bits",
            lambda x, mean, scale: -_laplace(x, mean, scale) / LN2,
            "yours is {yours} where {right} is right: yours are bits, minus the logarithm to base 2; the docstring asks "
            "for the log probability in nats.",
        ),
        Misconception(
            "a log probability is to base 2",
            lambda x, mean, scale: _laplace(x, mean, scale) / LN2,
            "yours is {yours} where {right} is right (ratio {ratio}): yours is to base 2; asked for are nats.",
        ),
        Misconception(
            "a log probability is positive",
            lambda x, mean, scale: -_laplace(x, mean, scale),
            "yours is {yours} where {right} is right: the sign is turned around. The logarithm of a probability is never above 0.",
        ),
        Misconception(
            "every bin lies on one side of the mean",
            _laplace_one_sided,
            "yours is {yours} where {right} is right. Beside the mean you are right, but some bins hold the mean, and have one "
            "end on each side: there F(u) is not 1/2 e^u but 1 - 1/2 e^-u.",
        ),
        Misconception(
            "a bin begins at its level",
            lambda x, mean, scale: _laplace(x, np.asarray(mean) - 0.5, scale),
            "yours is {yours} where {right} is right: your bin reaches from x to x + 1. The level is its middle: half a level to "
            "each side.",
        ),
    ],
    notice="the far tail costs 1/b nats per grey level, linear, where a Gaussian's grows with the square: that is why "
    "heavy tails win on images, where most errors are small and a few are large.",
)


# 06.4


def _paint_by_gathering(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Asks each output pixel which strokes reach it."""
    size = len(kernel)
    height, width = ((n - 1) * stride + size for n in np.shape(x))
    canvas = np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        for i, j in np.ndindex(*np.shape(x)):
            down, right = row - i * stride, column - j * stride
            if 0 <= down < size and 0 <= right < size:
                canvas[row, column] += x[i, j] * kernel[down, right]
    return canvas


def _paint(x, kernel, stride, add=True):
    size = len(kernel)
    canvas = np.zeros(((x.shape[0] - 1) * stride + size, (x.shape[1] - 1) * stride + size))
    for i, j in np.ndindex(x.shape):
        piece = canvas[i * stride : i * stride + size, j * stride : j * stride + size]
        piece[...] = x[i, j] * kernel + (piece if add else 0)
    return canvas


def _paint_close(x, kernel, stride):
    close = _paint(x, kernel, 1)
    canvas = np.zeros(np.array(x.shape) * stride - stride + len(kernel))
    canvas[: len(close), : len(close.T)] = close
    return canvas


def _strided_convolution(x, kernel, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, np.shape(kernel))[::stride, ::stride]
    return np.einsum("ijkl,kl->ij", windows, kernel)


def _paint_cases(rng: np.random.Generator) -> list[tuple]:
    shapes = [((4, 5), 3, 2), ((5, 4), 4, 2), ((4, 4), 4, 3)]
    return [(rng.normal(size=shape), rng.normal(size=(size, size)), stride) for shape, size, stride in shapes]


PAINT = Exercise(
    id="06.4",
    title="Paint by hand",
    oracle=_paint_by_gathering,
    cases=_paint_cases,
    misconceptions=[
        Misconception(
            "a later stroke covers an earlier one",
            lambda x, kernel, stride: _paint(x, kernel, stride, add=False),
            "where strokes overlap yours is {yours} and {right} is right: the last stroke has covered the earlier ones. "
            "They add up: += instead of =.",
        ),
        Misconception(
            "the kernel is turned by 180 degrees",
            lambda x, kernel, stride: _paint(x, kernel[::-1, ::-1], stride),
            "the shape is right, but yours is {yours} where {right} is right: your kernel arrives turned by 180 "
            "degrees, as if it slid over the spread-out input instead of being stamped.",
        ),
        Misconception(
            "the output is cropped to stride times the input",
            lambda x, kernel, stride: _paint(x, kernel, stride)[: x.shape[0] * stride, : x.shape[1] * stride],
            "yours is {yours}, expected {right}: you cut the strokes off where they stick out below and to the right. "
            "Here nothing is cropped.",
        ),
        Misconception(
            "transposed means the ordinary strided convolution",
            _strided_convolution,
            "yours is {yours}, expected {right}: yours shrinks the input, as the strided convolution of an encoder "
            "does. The transposed one goes the other way, from one pixel to many.",
        ),
        Misconception(
            "rows and columns of the kernel are exchanged",
            lambda x, kernel, stride: _paint(x, kernel.T, stride),
            "the shape is right, but yours is {yours} where {right} is right: your kernel arrives transposed, with its "
            "rows as columns. What is transposed is the matrix of the whole operation, not the kernel.",
        ),
        Misconception(
            "strokes lie one pixel apart",
            lambda x, kernel, stride: _paint_close(x, kernel, stride),
            "yours is {yours} where {right} is right: your strokes lie one pixel apart. The pixel in row i and column j paints "
            "from row i * stride and column j * stride on.",
        ),
        Misconception(
            "every pixel paints the same",
            lambda x, kernel, stride: _paint(np.ones_like(x), kernel, stride),
            "yours is {yours} where {right} is right: your strokes are all alike. Each is the input's value times the kernel.",
        ),
        Misconception(
            "every stroke is flat",
            lambda x, kernel, stride: _paint(x, np.ones_like(kernel), stride),
            "yours is {yours} where {right} is right: your strokes are flat squares. Each is the input's value times the *kernel*.",
        ),
    ],
    notice="with kernel 3 and stride 2 some pixels get one stroke and some four: the checkerboard is in the loop. And "
    "the sum of the output is the sum of the input times the sum of the kernel: paint is neither lost nor made.",
)


EXERCISES = [BEST_GAUSSIAN, SILENT_SIGMA, LAPLACE, PAINT]
