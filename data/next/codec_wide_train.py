"""python train.py (smoke|train) SECONDS OUT: trains for so many seconds in all, start and compilation included."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BEGIN = time.time()
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
import jax  # noqa: E402

jax.config.update("jax_compilation_cache_dir", os.environ.get("CODEC_CACHE", "/tmp/codec_jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

import model as M  # noqa: E402

HERE = Path(__file__).parent
BATCH, CROP = int(os.environ.get("CODEC_BATCH", 32)), int(os.environ.get("CODEC_CROP", 256))
LEARNING_RATE, BASIS_LEARNING_RATE, WARM_UP = 7e-4, 4e-5, 300  # warm-up in steps
RDO_FROM, DECAY_FROM = 0.4, 0.4  # of the time for training
EMA, CHECK_EVERY, SAVE_EVERY, RESERVE = 0.999, 25, 60.0, float(os.environ.get("CODEC_RESERVE", 15))
QUALITIES = np.linspace(0, 1, 5)


def say(*what):
    print(f"[{time.time() - BEGIN:6.1f} s]", *what, flush=True)


def load_tiles():
    paths = sorted((HERE / "tiles").glob("*.jpg"))
    paths = paths[:: int(os.environ.get("CODEC_EVERY_TILE", 1))]
    with ThreadPoolExecutor(16) as pool:
        return np.stack(list(pool.map(lambda p: np.asarray(Image.open(p).convert("RGB")), paths)))


def cut(key, tiles, count):
    """Random windows of random tiles, at random mirrored and turned."""
    size = tiles.shape[1] - CROP + 1
    which, place, turn = jax.random.split(key, 3)
    which = jax.random.randint(which, (count,), 0, len(tiles))
    place = jax.random.randint(place, (count, 2), 0, size)
    turn = jax.random.bernoulli(turn, 0.5, (count, 3))

    def one(i, p, t):
        x = jax.lax.dynamic_slice(tiles, (i, p[0], p[1], 0), (1, CROP, CROP, 3))[0]
        x = jnp.where(t[0], x[:, ::-1], x)
        x = jnp.where(t[1], x[::-1], x)
        return jnp.where(t[2], x.swapaxes(0, 1), x)

    return jax.vmap(one)(which, place, turn)


def main():
    mode, seconds, out = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    say("device", jax.devices()[0], "jax", jax.__version__)
    gpu = jax.default_backend() == "gpu"
    model = M.LossyCodec(nnx.Rngs(0), dtype=M.FAST if gpu or os.environ.get("CODEC_BF16") else jnp.float32)
    graphdef, state = nnx.split(model)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)

    def name_of(path):
        keys = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", None)))) for k in path]
        return ".".join(keys[:-1] if keys[-1] in ("value", "raw_value") else keys)

    names = [name_of(path) for path, _ in leaves]
    first = M.start_from(dict(zip(names, (leaf for _, leaf in leaves))), M.thaw(load_file(HERE / "start.safetensors")))
    params = {name: jnp.asarray(first[name], jnp.float32) for name in names}

    def whole(params):
        return nnx.merge(graphdef, jax.tree_util.tree_unflatten(treedef, [params[name] for name in names]))

    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))
    opt = adam.init(params)
    speed = {name: BASIS_LEARNING_RATE if name.endswith("basis") else LEARNING_RATE for name in names}
    speed |= {name: 0.0 for name in names if name.endswith(("spread", "ratio"))}

    def loss_of(params, key, x, quality, rdo):
        hyper, rate, distortion = M.rate_and_distortion(whole(params), key, x, quality, rdo)
        lmbda = M.lmbda_of(quality)
        return jnp.mean((hyper + rate + lmbda * distortion) / jnp.sqrt(lmbda))

    def step_function(params, opt, ema, tiles, number, lr, rdo):
        cut_key, quality_key, key = jax.random.split(jax.random.fold_in(jax.random.key(19), number), 3)
        x = cut(cut_key, tiles, BATCH)
        quality = (jnp.arange(BATCH) + jax.random.uniform(quality_key, (BATCH,))) / BATCH
        loss, grads = jax.value_and_grad(loss_of)(params, key, x, quality, rdo)
        norm = optax.global_norm(grads)
        good = jnp.isfinite(norm) & jnp.isfinite(loss)
        updates, new_opt = adam.update(grads, opt, params)
        new = jax.tree.map(lambda p, u, s: p - lr * s * u, params, updates, speed)
        keep = lambda a, b: jax.tree.map(lambda x, y: jnp.where(good, x, y), a, b)  # noqa: E731
        params, opt = keep(new, params), keep(new_opt, opt)
        rate = jnp.minimum(EMA, (1.0 + number) / (10.0 + number))
        ema = jax.tree.map(lambda e, p: rate * e + (1 - rate) * p, ema, params)
        return params, opt, ema, loss, norm

    step = jax.jit(step_function, donate_argnums=(0, 1, 2))

    @jax.jit
    def validation(params, x_uint8, rdo):
        batch = jnp.broadcast_to(x_uint8, (len(QUALITIES), *x_uint8.shape))
        return M.rate_and_distortion(
            whole(params), jax.random.key(0), batch, jnp.asarray(QUALITIES, jnp.float32), rdo, False
        )

    sets = {"cid22": [], "clic25": []}
    for path in sorted((HERE / "val").glob("*.webp"))[:: int(os.environ.get("CODEC_EVERY_VAL", 1))]:
        sets[path.name.split("_")[0]].append(np.asarray(Image.open(path).convert("RGB")))
    records = []

    def watch(params, name, number):
        for which, pictures in sets.items():
            if not pictures:
                continue
            terms = np.mean([validation(params, x, 1.0) for x in pictures], axis=0)
            lmbda = M.lmbda_of(QUALITIES)
            loss = float(np.mean((terms[0] + terms[1] + lmbda * terms[2]) / np.sqrt(lmbda)))
            bpp, psnr = np.round(terms[0] + terms[1], 4), np.round(10 * np.log10(255**2 / terms[2]), 3)
            say(f"step {number} {name} {which}: loss {loss:.4f}, bpp {bpp.tolist()}, psnr {psnr.tolist()}")
            records.append(
                {"step": number, "weights": name, "set": which, "loss": loss}
                | {"bpp": bpp.tolist(), "psnr": psnr.tolist(), "seconds": time.time() - BEGIN}
            )
        (out / "records.json").write_text(json.dumps(records, indent=1))

    def save(name, params):
        arrays = {n: np.asarray(v, np.float32) for n, v in params.items()}
        save_file(arrays, out / (name + ".part"))
        os.replace(out / (name + ".part"), out / (name + ".safetensors"))

    tiles = load_tiles()
    say(f"{len(tiles)} tiles, {tiles.size / 3e6:.1f} megapixels; parameters {sum(v.size for v in first.values()):,}")
    tiles = jnp.asarray(tiles)
    watch(params, "start", 0)
    ema = jax.tree.map(jnp.copy, params)
    number, saved, last, lr, fraction = 0, time.time(), None, 0.0, 0.0
    params, opt, ema, loss, norm = step(params, opt, ema, tiles, jnp.int32(0), jnp.float32(0), jnp.float32(0))
    loss.block_until_ready()
    begin = time.time()
    length = max(seconds - (begin - BEGIN) - RESERVE, 6.0)
    say(f"step compiled; training for {length:.0f} s")
    tick, losses = (begin, 0), []
    while fraction < 1:
        fraction = min((time.time() - begin) / length, 1.0)
        number += 1
        lr = min(number / WARM_UP, 1.0, max((1 - fraction) / (1 - DECAY_FROM), 0.0))
        rdo = float(fraction >= RDO_FROM) if mode == "train" else float(number % 2)
        params, opt, ema, loss, norm = step(
            params, opt, ema, tiles, jnp.int32(number), jnp.float32(lr), jnp.float32(rdo)
        )
        losses.append((loss, norm))
        if number % CHECK_EVERY == 0:
            values = np.array(jax.device_get(losses))
            losses = []
            now = time.time()
            if number % (CHECK_EVERY * (4 if mode == "smoke" else 20)) == 0 or number == CHECK_EVERY:
                speed_now = (number - tick[1]) / (now - tick[0])
                tick = (now, number)
                say(
                    f"step {number} ({fraction:.0%}): loss {values[:, 0].mean():.4f}, gradient {values[:, 1].mean():.2f}, "
                    f"lr {lr:.3f}, rdo {rdo:.0f}, {speed_now:.1f} steps/s"
                )
            if now - saved > SAVE_EVERY:
                saved = now
                save("checkpoint_raw", params)
                save("checkpoint_ema", ema)
                watch(ema, "ema", number)
    save("final_raw", params)
    save("final_ema", ema)
    say(f"{number} steps, saved")
    watch(ema, "ema", number)
    watch(params, "raw", number)
    say("done")


main()
