"""Right answers to the exercises of notebook 07 that look nothing like the solutions there."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vae_lib.metrics import to_bits


def cycle_by_interpolation(step, period):
    return np.interp(step % period, [0, period / 2, period], [0, 1, 1])


def adam_by_optax(gradients, learning_rate):
    adam = optax.adam(learning_rate)
    start = jnp.zeros(gradients.shape[1])

    def step(state, gradient):
        updates, state = adam.update(gradient, state)
        return state, updates

    return jax.lax.scan(step, adam.init(start), jnp.asarray(gradients))[1].sum(axis=0)


def adam_by_weighted_sums(gradients, learning_rate):
    """No running averages: at step t the weights of all gradients so far, normalised."""
    g = np.asarray(gradients, dtype=np.float64)
    moves = []
    for t in range(1, len(g) + 1):
        ages = np.arange(t)[::-1, None]
        first = np.sum(0.9**ages * g[:t], axis=0) / np.sum(0.9**ages)
        second = np.sum(0.999**ages * g[:t] ** 2, axis=0) / np.sum(0.999**ages)
        moves.append(first / (np.sqrt(second) + 1e-8))
    return -learning_rate * np.sum(moves, axis=0)


def paired_by_covariance(bits_a, bits_b):
    n = len(bits_a)
    covariance = np.cov(bits_a, bits_b)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return np.mean(bits_a) - np.mean(bits_b), (variance / n) ** 0.5


def loss_by_probabilities(x, posterior_mean, posterior_log_std, epsilon, decode):
    std = jnp.exp(posterior_log_std)
    logits = decode(posterior_mean + std * epsilon)
    pixels = -to_bits(jax.nn.log_sigmoid(jnp.where(x == 1, logits, -logits))).sum(axis=1)
    latents = to_bits(0.5 * (posterior_mean**2 + std**2 - jnp.log(std**2) - 1)).sum(axis=1)
    return jnp.mean(pixels + latents) / x.shape[1]


ALSO_RIGHT = {
    "07.1": [cycle_by_interpolation],
    "07.2": [adam_by_optax, adam_by_weighted_sums],
    "07.3": [paired_by_covariance],
    "07.4": [loss_by_probabilities],
}
