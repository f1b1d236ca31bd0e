"""Right answers to the exercises of notebook 11 that look nothing like the solutions there."""

import numpy as np
from scipy import optimize, stats


def price_by_expected_costs(std, assumed):
    """Mean cost under the wrong density minus mean cost under the right one."""
    cross = 0.5 * np.log2(2 * np.pi * assumed**2) + std**2 / (2 * assumed**2 * np.log(2))
    entropy = stats.norm(scale=std).entropy() / np.log(2)
    return float(np.mean(cross - entropy))


def step_by_search(symbols):
    """The least of the sum, by SciPy."""

    def bits(log_step):
        return (-log_step + symbols * np.exp(2 * log_step) / 12) / np.log(2)

    return np.exp(optimize.minimize_scalar(bits, bracket=(-3, 0), tol=1e-12).x)


def worth_by_mean_costs(std):
    """Mean KL to the Gaussian whose variance is the mean variance, channel by channel."""
    common = (std**2).mean(axis=0) ** 0.5
    ratio = std / common
    return ((ratio**2 - 1) / 2 - np.log(ratio)).mean(axis=0).sum() / np.log(2)


def context_by_padding(pass_map):
    never = pass_map.max() + 1
    padded = np.pad(pass_map, 1, constant_values=never)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3)) < pass_map[..., None, None]


ALSO_RIGHT = {
    "11.1": [price_by_expected_costs],
    "11.2": [step_by_search],
    "11.3": [worth_by_mean_costs],
    "11.4": [context_by_padding],
}
