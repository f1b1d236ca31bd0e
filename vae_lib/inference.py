"""Bounds on the evidence log p(x) from samples of q: ELBO and importance-weighted bound (notebooks 02 and 07)."""

import jax
import jax.numpy as jnp
from jax import Array


def elbo(log_joint: Array, log_q: Array) -> Array:
    """Monte Carlo estimate of the evidence lower bound.

    Args:
      log_joint: (samples, ...) log p(x, z_i) in nats, for z_i drawn from q.
      log_q: (samples, ...) log q(z_i | x) in nats.

    Returns:
      (...,) nats: the mean over samples of log p(x, z_i) - log q(z_i | x).

    Source: Kingma and Welling (2014), equation 2.
    """
    return jnp.mean(log_joint - log_q, axis=0)


def importance_weighted_bound(log_joint: Array, log_q: Array) -> Array:
    """Importance-weighted bound: between the ELBO (one sample) and the evidence (infinitely many).

    Args:
      log_joint: (samples, ...) log p(x, z_i) in nats, for z_i drawn from q.
      log_q: (samples, ...) log q(z_i | x) in nats.

    Returns:
      (...,) nats: the logarithm of the mean over samples of p(x, z_i) / q(z_i | x).

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8, arXiv:1509.00519.
    """
    return jax.nn.logsumexp(log_joint - log_q, axis=0) - jnp.log(log_joint.shape[0])
