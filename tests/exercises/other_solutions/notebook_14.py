"""Right answers to the exercises of notebook 14 that look nothing like the solutions there."""

from functools import reduce

import numpy as np


def whole_gradient_by_a_running_mean(gradients, sizes):
    """Two devices at a time, as a ring of machines would do it."""

    def join(one, other):
        (mean, count), (more, size) = one, other
        return mean + (more - mean) * size / (count + size), count + size

    return reduce(join, zip(gradients, sizes, strict=True))[0]


def whole_gradient_by_numpy(gradients, sizes):
    return np.average(gradients, axis=0, weights=sizes)


def codes_by_matrix_product(x, codebook, bits, lmbda):
    """|x - c|^2 without |x|^2, which is the same for all codes."""
    return np.argmin(bits / lmbda + (codebook**2).sum(axis=1) - 2 * x @ codebook.T, axis=1).tolist()


def codes_by_a_tournament(x, codebook, bits, lmbda):
    best, least = np.zeros(len(x), int), np.full(len(x), np.inf)
    for number, (code, price) in enumerate(zip(codebook, bits, strict=True)):
        cost = price + lmbda * np.linalg.norm(x - code, axis=1) ** 2
        best, least = np.where(cost < least, number, best), np.minimum(cost, least)
    return best


def psnr_by_exchanging_one_error_at_a_time(missing, present):
    error, decibels = sum(missing), []
    for old, new in zip([0, *missing], [0, *present], strict=True):
        error += new - old
        decibels.append(20 * np.log10(255) - 10 * np.log10(error))
    return decibels


ALSO_RIGHT = {
    "14.1": [whole_gradient_by_a_running_mean, whole_gradient_by_numpy],
    "14.2": [psnr_by_exchanging_one_error_at_a_time],
    "14.3": [codes_by_matrix_product, codes_by_a_tournament],
}
