"""What a decoder may claim about pixels: likelihoods of 8-bit images, each a code length (built in notebook 06).

All results are log p(x | z) in nats. Grey levels 0..255 stand for bins of width 2 / 255 on an axis from -1 to 1; the
first and the last bin reach to infinity. A log likelihood takes the decoder's output, (batch, outputs, pixels), and
sums over the pixels of an image.
"""

import jax
import jax.numpy as jnp
from jax import Array


def discretized_logistic_log_prob(x_uint8: Array, mean: Array, log_scale: Array) -> Array:
    """Log probability of each grey level under a logistic distribution cut into 256 bins.

    With F the logistic function, c = (x - mean) / scale and h half a bin over the scale, the bin's probability is
    F(c + h) - F(c - h) = (1 - e^(-2h)) / ((1 + e^(-c-h)) (1 + e^(c-h))): no difference of nearly equal numbers.

    Args:
      x_uint8: integers 0..255, any shape.
      mean, log_scale: of a shape that broadcasts with x_uint8's, on the axis from -1 to 1.

    Returns:
      nats, not summed.

    Source: Kingma et al. (2016), arXiv:1606.04934, appendix; Salimans et al. (2017), arXiv:1701.05517.
    """
    centre = (x_uint8.astype(jnp.float32) / 127.5 - 1 - mean) * jnp.exp(-log_scale)
    half_bin = jnp.exp(-log_scale) / 255
    above = jnp.where(x_uint8 == 255, -jnp.inf, -centre - half_bin)  # logit of the mass above the bin
    below = jnp.where(x_uint8 == 0, -jnp.inf, centre - half_bin)
    inside = jnp.where((x_uint8 == 0) | (x_uint8 == 255), 0.0, jnp.log(-jnp.expm1(-2 * half_bin)))
    return inside - jax.nn.softplus(above) - jax.nn.softplus(below)


def logistic_mixture_log_likelihood(x_uint8: Array, parameters: Array) -> Array:
    """Log likelihood of images whose pixels are independent mixtures of discretised logistics, given z.

    Args:
      x_uint8: (batch, height, width, channels) integers 0..255.
      parameters: (batch, 3 * components, pixels): logits of the weights, means, log scales of each pixel's components;
        offsets are added so that zeros already mean components spread over the grey levels.

    Returns:
      (batch,) nats, summed over the pixels.

    Source: Salimans et al. (2017), arXiv:1701.05517, section 2.1 (without its autoregressive part).
    """
    logits, means, log_scales = jnp.split(parameters, 3, axis=1)  # (batch, components, pixels) each
    centres = jnp.linspace(-1, 1, 2 * logits.shape[1] + 1)[1::2, None]
    x_uint8 = x_uint8.reshape(len(x_uint8), 1, -1)
    log_p = discretized_logistic_log_prob(x_uint8, means + centres, log_scales - 2)
    return jnp.sum(jax.nn.logsumexp(jax.nn.log_softmax(logits, axis=1) + log_p, axis=1), axis=-1)
