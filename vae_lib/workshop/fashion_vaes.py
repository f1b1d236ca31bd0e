"""How the committed weights were made: architecture, schedule and data of each, and the command that repeats it.

`python -m vae_lib train fashion-vae --out data/models/fashion_vae.safetensors` runs `train_fashion_vae`, and
`python -m vae_lib train latent-sweep --out data/models/latent_sweep.safetensors` runs `train_latent_sweep`.
"""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from vae_lib.images import DATA_FOLDER, load_fashion_mnist
from vae_lib.likelihoods import logistic_mixture_log_likelihood
from vae_lib.metrics import bits_per_dim
from vae_lib.networks import DenseDecoder, DenseEncoder
from vae_lib.training import evaluate, fit, load_weights, save_weights, train_step
from vae_lib.vae import VAE, importance_weighted
from vae_lib.workshop.parallel import data_parallel, together

FASHION_VAE = DATA_FOLDER / "models" / "fashion_vae.safetensors"
HELD_OUT = 5000  # training images set aside to watch the run; the official test set is measured once, at the end
LATENT_DIM, WIDTH, COMPONENTS = 32, 512, 3
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 40_000, 64, 2e-3, 0.02
BOUND_SAMPLES = 32  # of the importance-weighted bound

LATENT_SWEEP = DATA_FOLDER / "models" / "latent_sweep.safetensors"
SWEEP = [(latent_dim, 1.0) for latent_dim in (2, 4, 8, 16, 32, 64)] + [(32, beta) for beta in (0.1, 0.3, 3, 10, 30)]
SWEEP_WIDTH, SWEEP_STEPS, SWEEP_WARM_UP = 96, 10_000, 0.2  # the last: share of the steps in which beta rises


def new_fashion_vae(seed: int = 0) -> VAE:
    """The VAE of the committed weights, untrained."""
    rngs = nnx.Rngs(seed)
    encoder = DenseEncoder(LATENT_DIM, WIDTH, rngs)
    decoder = DenseDecoder(LATENT_DIM, WIDTH, 3 * COMPONENTS, rngs)
    return VAE(encoder, decoder, logistic_mixture_log_likelihood)


def load_fashion_vae() -> VAE:
    """The VAE with the committed weights; WeightsError if the file is missing or damaged."""
    model = nnx.eval_shape(new_fashion_vae)  # shapes only: the file replaces all weights
    load_weights(FASHION_VAE, model)
    return model


@nnx.jit
def train_step_with_flips(model: VAE, optimizer: nnx.Optimizer, key: Array, x_uint8: Array, beta: Array) -> Array:
    """train_step on images of which each is mirrored with probability one half: more clothes from the same set."""
    flip_key, key = jax.random.split(key)
    flipped = jax.random.bernoulli(flip_key, shape=(len(x_uint8), 1, 1, 1))
    return train_step(model, optimizer, key, jnp.where(flipped, x_uint8[:, :, ::-1], x_uint8), beta)


def train_fashion_vae(
    out: Path, steps: int | None = None, seed: int = 0, mesh: Mesh | None = None, where: str = ""
) -> None:
    """Train on Fashion-MNIST, measure the official test set once, write weights and figures to `out`.

    With a mesh, on all its devices; of several processes, the first alone evaluates and writes. `where` is what the
    command said of them, to be recorded.
    """
    steps = steps or STEPS
    train_uint8, _ = load_fashion_mnist("train")
    test_uint8, _ = load_fashion_mnist("test")
    model = new_fashion_vae(seed)
    schedule = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, steps // 20, steps)
    optimizer = nnx.Optimizer(model, optax.adamw(schedule, weight_decay=WEIGHT_DECAY), wrt=nnx.Param)
    leads = jax.process_index() == 0
    with together():
        fit(
            model,
            optimizer,
            train_uint8[:-HELD_OUT],
            steps=steps,
            batch_size=BATCH_SIZE,
            key=jax.random.key(seed),
            held_out=train_uint8[-HELD_OUT:] if leads else None,
            step_function=train_step_with_flips if mesh is None else data_parallel(train_step_with_flips, mesh),
            every=1000,
            checkpoint=out.with_name(out.name + ".checkpoint"),
        )
    if not leads:
        return
    save_weights(out, model, {}, half=True)
    load_weights(out, model)  # so that the figures are those of the weights as stored
    rate, distortion = evaluate(model, jax.random.key(seed), test_uint8)
    figures = {
        "held_out_bits_per_dim": sum(evaluate(model, jax.random.key(seed), train_uint8[-HELD_OUT:])),
        "test_rate_bits_per_dim": rate,
        "test_negative_elbo_bits_per_dim": rate + distortion,
        "test_importance_weighted_bits_per_dim": evidence_bits(model, jax.random.key(seed + 1), test_uint8),
    }
    about = provenance("fashion-vae", out, steps, seed, where) | {
        name: f"{value:.4f}" for name, value in figures.items()
    }
    if mesh is not None:
        about["devices"] = str(mesh.size)
    save_weights(out, model, about, half=True)
    print("\n".join(f"{name}: {value}" for name, value in about.items()))


def provenance(name: str, out: Path, steps: int, seed: int, where: str = "") -> dict[str, str]:
    """Metadata that every weights file carries: the command that repeats it, data, steps, licence."""
    arrays = (load_fashion_mnist(split)[0] for split in ("train", "test"))
    data = hashlib.sha256(b"".join(hashlib.sha256(x_uint8.tobytes()).digest() for x_uint8 in arrays)).hexdigest()
    return {
        "command": f"python -m vae_lib train {name} --out {out.name} --steps {steps} --seed {seed}{where}",
        "data": f"Fashion-MNIST, SHA-256 of the SHA-256 of both image arrays: {data}",
        "steps": str(steps),
        "licence": "MIT",
    }


jitted_bound = nnx.jit(importance_weighted, static_argnames="samples")


def evidence_bits(model: VAE, key: Array, x_uint8: np.ndarray, batch_size: int = 500) -> float:
    """Importance-weighted bound on -log2 p(x) in bits per dimension, BOUND_SAMPLES draws, mean over all images."""
    total = 0.0
    for start in range(0, len(x_uint8), batch_size):
        batch = jnp.asarray(x_uint8[start : start + batch_size])
        total += float(jitted_bound(model, jax.random.fold_in(key, start), batch, BOUND_SAMPLES).sum())
    return float(bits_per_dim(-total / len(x_uint8), math.prod(x_uint8.shape[1:])))


def new_small_vae(latent_dim: int, seed: int = 0) -> VAE:
    """A VAE of the latent sweep, untrained: narrow, one logistic for each pixel."""
    rngs = nnx.Rngs(seed)
    encoder = DenseEncoder(latent_dim, SWEEP_WIDTH, rngs)
    return VAE(encoder, DenseDecoder(latent_dim, SWEEP_WIDTH, 3, rngs), logistic_mixture_log_likelihood)


def new_latent_sweep(seed: int = 0) -> nnx.Dict:
    """The VAEs of the latent sweep, untrained, by name: "dim_2_beta_1" and so on."""
    return nnx.Dict({sweep_name(*point): new_small_vae(point[0], seed) for point in SWEEP})


def sweep_name(latent_dim: int, beta: float) -> str:
    return f"dim_{latent_dim}_beta_{beta:g}"


def load_latent_sweep() -> dict[tuple[int, float], VAE]:
    """{(latent_dim, beta): VAE with the committed weights}; WeightsError if the file is missing or damaged."""
    models = nnx.eval_shape(new_latent_sweep)
    load_weights(LATENT_SWEEP, models)
    return {point: models[sweep_name(*point)] for point in SWEEP}


def train_latent_sweep(out: Path, steps: int | None = None, seed: int = 0) -> None:
    """Train the VAEs of the sweep on Fashion-MNIST, all by one recipe; write weights and held-out figures to `out`.

    The official test set is not looked at.
    """
    steps = steps or SWEEP_STEPS
    train_uint8, _ = load_fashion_mnist("train")
    held_out = train_uint8[-HELD_OUT:]
    models = new_latent_sweep(seed)
    adam = optax.adam(optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, steps // 20, steps))
    for latent_dim, beta in SWEEP:
        name = sweep_name(latent_dim, beta)
        print(name)
        fit(
            models[name],
            nnx.Optimizer(models[name], adam, wrt=nnx.Param),
            train_uint8[:-HELD_OUT],
            steps=steps,
            batch_size=BATCH_SIZE,
            key=jax.random.key(seed),
            beta=warm_up(beta, steps),
            every=1000,
            checkpoint=out.with_name(f"{out.name}.{name}.checkpoint"),
        )
    save_weights(out, models, {}, half=True)
    load_weights(out, models)
    figures = {name: evaluate(model, jax.random.key(seed), held_out) for name, model in models.items()}
    about = provenance("latent-sweep", out, steps, seed) | {
        "held_out_rate_and_distortion_bits_per_dim": json.dumps(
            {n: [round(v, 4) for v in f] for n, f in figures.items()}
        )
    }
    save_weights(out, models, about, half=True)
    print("\n".join(f"{name}: {value}" for name, value in about.items()))


def warm_up(beta: float, steps: int) -> Callable[[int], float]:
    """The weight of the rate at each step: from 0 up to beta in a straight line, then beta."""
    return lambda step: beta * min(1.0, step / (SWEEP_WARM_UP * steps))
