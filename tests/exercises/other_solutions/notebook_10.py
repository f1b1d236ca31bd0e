"""Right answers to the exercises of notebook 10 that look nothing like the solutions there."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq


def bits_by_root_finding(variances, distortion):
    water = brentq(lambda level: np.minimum(variances, level).sum() - distortion, 1e-12, variances.max(), xtol=1e-13)
    return np.sum(np.log2(np.maximum(variances, water)) - np.log2(water)) / 2


def bits_by_drowning(variances, distortion):
    """Drown the smallest channel for as long as an equal share of what is left exceeds it."""
    dry = np.sort(variances)
    while dry[0] <= distortion / len(dry):
        distortion -= dry[0]
        dry = dry[1:]
    return 0.5 * np.log2(dry * len(dry) / distortion).sum()


def zero_by_solving_linearly(bits_zero, bits_one, point, worth):
    """The gain of a one over a zero is a straight line in the size; two values give its root."""
    at_zero = bits_zero - bits_one - worth * point**2
    at_one = bits_zero + worth - bits_one - worth * (1 - point) ** 2
    return -at_zero / (at_one - at_zero)


def lmbda_by_gradients(their_lmbda, height, width):
    def their_loss(rate, distortion):
        return rate * height * width * jnp.log(2) + their_lmbda * 3 * height * width * distortion / 255**2

    by_rate, by_distortion = jax.grad(their_loss, argnums=(0, 1))(1.0, 1.0)
    return by_distortion / by_rate


def symbols_by_the_receiver(z, step):
    """Ask at each number what the receiver has, and send what is missing."""
    received, symbols = 0.0, []
    for value in z:
        symbols.append(int(np.rint((value - received) / step)))
        received += step * symbols[-1]
    return symbols


ALSO_RIGHT = {
    "10.1": [bits_by_root_finding, bits_by_drowning],
    "10.2": [zero_by_solving_linearly],
    "10.3": [lmbda_by_gradients],
    "10.4": [symbols_by_the_receiver],
}
