"""Right answers to the exercises of notebook 11 that look nothing like the solutions there."""

import jax.numpy as jnp
import numpy as np
from scipy import stats


def price_by_expected_costs(std, assumed):
    """Mean cost under the wrong density minus mean cost under the right one."""
    cross = 0.5 * np.log2(2 * np.pi * assumed**2) + std**2 / (2 * assumed**2 * np.log(2))
    entropy = stats.norm(scale=std).entropy() / np.log(2)
    return float(np.mean(cross - entropy))


def side_by_scipy(classes, symbols):
    def entropy(values):
        return stats.entropy(np.unique(values, return_counts=True)[1], base=2)

    bits = entropy(classes)
    for c in set(classes.tolist()):
        share = np.mean(classes == c)
        bits += share * sum(entropy(symbols[classes == c, channel]) for channel in range(symbols.shape[1]))
    return bits


def context_by_padding(pass_map):
    never = pass_map.max() + 1
    padded = np.pad(pass_map, 1, constant_values=never)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3)) < pass_map[..., None, None]


def about_mean_in_jax(y, mean):
    symbols = jnp.floor(jnp.asarray(y) - jnp.asarray(mean) + 0.5)
    return symbols, symbols + mean


ALSO_RIGHT = {
    "11.1": [price_by_expected_costs],
    "11.2": [side_by_scipy],
    "11.3": [about_mean_in_jax],
    "11.4": [context_by_padding],
}
