"""Right answers to the exercises of notebook 05 that look nothing like the solutions there."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


def descend_by_optax(model, loss, rate):
    optimizer = nnx.Optimizer(model, optax.sgd(rate), wrt=nnx.Param)
    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value


def descend_functionally(model, loss, rate):
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    before = loss(model)
    gradients = jax.grad(lambda p: loss(nnx.merge(graph, p, rest)))(parameters)
    nnx.update(model, jax.tree.map(lambda p, g: p + rate * -g, parameters, gradients))
    return float(before)


def log_std_in_float64(raw):
    return (0.5 * np.log(np.logaddexp(np.asarray(raw, np.float64), 0))).astype(np.float32)


def log_std_by_series(raw):
    """log softplus(raw) = raw + log(log1p(u) / u) with u = e^raw, which is near 1 - u/2 for small u."""
    u = jnp.exp(jnp.minimum(raw, 0.0))
    small = raw + jnp.where(u < 1e-4, -u / 2, jnp.log(jnp.log1p(u) / jnp.maximum(u, 1e-30)))
    return 0.5 * jnp.where(raw < 0, small, jnp.log(jnp.logaddexp(jnp.maximum(raw, 0.0), 0.0)))


def shared_width_by_descent(precisions):
    """Newton steps on the mean cost, then the difference of two costs."""
    log_std = jnp.full(precisions.shape[1], -4.0)
    for _ in range(60):
        pull = jnp.mean(precisions * jnp.exp(2 * log_std), axis=0)
        log_std = log_std - jnp.clip((pull - 1) / (2 * pull), -1, 1)

    def cost(t):
        return jnp.mean(jnp.sum(0.5 * precisions * jnp.exp(2 * t) - t, axis=-1))

    return log_std, cost(log_std) - cost(-0.5 * jnp.log(precisions))


def field_width_by_probing(kernels, strides):
    """Convolve ones: the unit reaches as far as the gradient does."""

    def last_unit(pixels):
        h = pixels
        for kernel, stride in zip(kernels, strides, strict=True):
            h = sum(h[i : len(h) - kernel + 1 + i] for i in range(kernel))[::stride]
        return h[0]

    touched = jax.grad(last_unit)(jnp.ones(300))
    return int(jnp.sum(touched != 0))


ALSO_RIGHT = {
    "05.1": [descend_by_optax, descend_functionally],
    "05.2": [log_std_in_float64, log_std_by_series],
    "05.3": [shared_width_by_descent],
    "05.4": [field_width_by_probing],
}
