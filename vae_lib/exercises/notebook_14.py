"""Exercises of notebook 14: unequal shares of a batch, quality after a part of the file, a code chosen for its bits.

The oracles go the long way: image by image, group by group, code by code.
"""

import math

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

# 14.1


def _shares(rng: np.random.Generator) -> list[tuple]:
    """Mean gradients of the devices and how many images each has seen; no two cases have equal shares."""
    return [
        (rng.normal(0, 1, (len(sizes), 6)), np.array(sizes))
        for sizes in ([64, 64, 36], [200, 56], [1, 2, 3, 4, 90], [32] * 7 + [5])
    ]


def _image_by_image(gradients: np.ndarray, sizes: np.ndarray) -> list[float]:
    """Every image brings its device's mean: as long a list as the batch, and then the plain mean."""
    batch = [row for row, size in zip(gradients.tolist(), sizes.tolist(), strict=True) for _ in range(size)]
    return [math.fsum(column) / len(batch) for column in zip(*batch, strict=True)]


UNEQUAL_SHARES = Exercise(
    id="14.1",
    title="Unequal shares",
    oracle=_image_by_image,
    cases=_shares,
    misconceptions=[
        Misconception(
            "the mean of means is the mean",
            lambda gradients, sizes: gradients.mean(axis=0),
            "yours is {yours} where {right} is right: you gave every device the same weight, so an image in a small share counts more than one "
            "in a large share. Every *image* should count the same.",
        ),
        Misconception(
            "devices add up",
            lambda gradients, sizes: gradients.sum(axis=0),
            "yours is {yours} where {right} is right: you added the means. With more devices your gradient gets longer, though the batch "
            "is the same.",
        ),
        Misconception(
            "weighting by the size is enough",
            lambda gradients, sizes: (sizes[:, None] * gradients).sum(axis=0),
            "yours is {yours} where {right} is right: that is the sum over all images, {ratio} times the mean. Divide by how many they are.",
        ),
        Misconception(
            "there are as many terms as devices",
            lambda gradients, sizes: (sizes[:, None] * gradients).sum(axis=0) / len(sizes),
            "yours is {yours} where {right} is right: the sum over all images, divided by the number of *devices*. The batch has "
            "more images than that.",
        ),
        Misconception(
            "a large share needs less weight",
            lambda gradients, sizes: (gradients / sizes[:, None]).sum(axis=0) / (1 / sizes).sum(),
            "yours is {yours} where {right} is right: your weights are upside down. A mean over many images stands for many images.",
        ),
        Misconception(
            "the largest share speaks for all",
            lambda gradients, sizes: gradients[np.argmax(sizes)],
            "yours is {yours} where {right} is right: that is the gradient of one device alone. The others have worked too.",
        ),
    ],
    notice="it is the mean of the whole batch as if one device had seen it all. Where the mean is taken over an array that is spread over the "
    "devices, JAX writes these weights for you.",
)


# 14.2


def _groups(rng: np.random.Generator) -> list[tuple]:
    """What each group adds to the mean squared error while it is missing, and once it is there."""
    return [
        (np.sort(rng.uniform(3, 400, count))[::-1] * np.linspace(1, 0.5, count), rng.uniform(0.3, 2.5, count))
        for count in (5, 3, 8)
    ]


def _group_by_group(missing: np.ndarray, present: np.ndarray) -> list[float]:
    decibels = []
    for k in range(len(missing) + 1):
        error = math.fsum([*present.tolist()[:k], *missing.tolist()[k:]])
        decibels.append(10 * math.log10(255**2 / error))
    return decibels


def _errors(missing: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Mean squared error after 0, 1, ... groups."""
    return missing.sum() + np.concatenate([[0], np.cumsum(present - missing)])


def _decibels(error: np.ndarray) -> np.ndarray:
    return 10 * np.log10(255**2 / error)


AFTER_EACH_PART = Exercise(
    id="14.2",
    title="Quality after each part",
    oracle=_group_by_group,
    cases=_groups,
    misconceptions=[
        Misconception(
            "what has come is coarse from the start",
            lambda missing, present: _decibels(present.sum() + np.append(np.cumsum(missing[::-1])[::-1], 0)),
            "yours is {yours} where {right} is right: you count the rounding error of groups that are not there yet. A group adds one of its two "
            "errors, never both.",
        ),
        Misconception(
            "what has come is without error",
            lambda missing, present: _decibels(np.append(np.cumsum(missing[::-1])[::-1], 1e-9)),
            "yours is {yours} where {right} is right: you forgot the error of the groups that are there. They were rounded.",
        ),
        Misconception(
            "nothing is no picture",
            lambda missing, present: _decibels(_errors(missing, present)[1:]),
            "the first number is missing: before any group the decoder shows its mean, and that has a PSNR too. K groups give K + 1 numbers.",
        ),
        Misconception(
            "the fine groups come first",
            lambda missing, present: _decibels(_errors(missing[::-1], present[::-1])),
            "yours is {yours} where {right} is right: your groups arrive from the last to the first.",
        ),
        Misconception(
            "decibels can be averaged",
            lambda missing, present: np.array(
                [np.append(_decibels(present[:k]), _decibels(missing[k:])).mean() for k in range(len(missing) + 1)]
            ),
            "yours is {yours} where {right} is right: you averaged decibels. Errors add; logarithms of errors do not. Add first.",
        ),
        Misconception(
            "the peak needs no square",
            lambda missing, present: 10 * np.log10(255 / _errors(missing, present)),
            "yours is {yours} where {right} is right: the error is squared, so the peak must be: 255 squared over the error.",
        ),
        Misconception(
            "twenty decibels a decade",
            lambda missing, present: 2 * _decibels(_errors(missing, present)),
            "yours is {yours} where {right} is right, {ratio} times too much: the factor 20 belongs to a ratio of amplitudes, and this is one "
            "of squares.",
        ),
        Misconception(
            "the error is a mean over groups",
            lambda missing, present: _decibels(_errors(missing, present) / len(missing)),
            "yours is {yours} where {right} is right: you divided by the number of groups. Each part is a share of one error; they add up.",
        ),
    ],
    notice="the sum is exact only where the transform is orthonormal. In the codec the synthesis corrects what it sees, so its true "
    "curve lies a little beside this one.",
)


# 14.3


def _codes(rng: np.random.Generator) -> list[tuple]:
    """Vectors, codes, bits for each code, bits per squared unit of error."""
    cases = []
    for dims, codes, lmbda in ((4, 6, 0.3), (8, 9, 0.1), (3, 5, 2.0), (6, 7, 0.6)):
        codebook = rng.normal(0, 2, (codes, dims))
        bits = -np.log2(rng.dirichlet(np.full(codes, 0.6)) * 0.99 + 0.01 / codes)
        cases.append((codebook[rng.integers(codes, size=40)] + rng.normal(0, 1.2, (40, dims)), codebook, bits, lmbda))
    return cases


def _code_by_code(x: np.ndarray, codebook: np.ndarray, bits: np.ndarray, lmbda: float) -> list[int]:
    """Bits plus lambda times squared error, one vector and one code at a time."""
    chosen = []
    for vector in x.tolist():
        costs = [b + lmbda * math.dist(vector, code) ** 2 for code, b in zip(codebook.tolist(), bits, strict=True)]
        chosen.append(costs.index(min(costs)))
    return chosen


def _difference(x: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return np.asarray(x)[:, None] - codebook


def _squared(x: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return (_difference(x, codebook) ** 2).sum(axis=-1)


WORTH_ITS_BITS = Exercise(
    id="14.3",
    title="The code that is worth its bits",
    oracle=_code_by_code,
    cases=_codes,
    misconceptions=[
        Misconception(
            "the nearest code is the best",
            lambda x, codebook, bits, lmbda: _squared(x, codebook).argmin(axis=1),
            "code {yours} where {right} is right: yours is the nearest code, whatever it costs. Add its bits before you compare.",
        ),
        Misconception(
            "lambda is the price of a bit",
            lambda x, codebook, bits, lmbda: (lmbda * bits + _squared(x, codebook)).argmin(axis=1),
            "code {yours} where {right} is right: your lambda multiplies the bits. In R + lambda D it multiplies the error.",
        ),
        Misconception(
            "the error is the distance",
            lambda x, codebook, bits, lmbda: (bits + lmbda * np.sqrt(_squared(x, codebook))).argmin(axis=1),
            "code {yours} where {right} is right: you took the distance itself. Distortion is its square.",
        ),
        Misconception(
            "the error is a mean over the vector",
            lambda x, codebook, bits, lmbda: (bits + lmbda * _squared(x, codebook) / x.shape[1]).argmin(axis=1),
            "code {yours} where {right} is right: you averaged over the numbers of a vector. The bits pay for all of them, so sum their errors.",
        ),
        Misconception(
            "errors of different sign cancel",
            lambda x, codebook, bits, lmbda: (bits + lmbda * _difference(x, codebook).sum(axis=-1) ** 2).argmin(axis=1),
            "code {yours} where {right} is right: you summed first and squared then, so errors of different sign cancel. Square each.",
        ),
        Misconception(
            "the cheapest code is the best",
            lambda x, codebook, bits, lmbda: np.full(len(x), np.argmin(bits)),
            "code {yours} where {right} is right: yours is the code of the fewest bits, for every vector. Its error counts as well.",
        ),
        Misconception(
            "each code chooses its vector",
            lambda x, codebook, bits, lmbda: (bits + lmbda * _squared(x, codebook)).argmin(axis=0),
            "you have one number for each *code*, the vector that suits it best. Take the smallest cost along the other axis: one code for "
            "each vector.",
        ),
        Misconception(
            "the largest number wins",
            lambda x, codebook, bits, lmbda: (bits + lmbda * _squared(x, codebook)).argmax(axis=1),
            "code {yours} where {right} is right: you took the largest cost of all.",
        ),
    ],
    notice="with lambda large it is the nearest code, with lambda small the most frequent one: one line between two bad codecs. Codes that "
    "nobody chooses any more become dearer, and k-means on this cost lets them die.",
)


EXERCISES = [UNEQUAL_SHARES, AFTER_EACH_PART, WORTH_ITS_BITS]
