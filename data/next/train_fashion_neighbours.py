"""Train the VAE whose pixels see z and their decoded neighbours. usage: train.py SECONDS OUT [--steps-only N]"""
import gzip, json, sys, time, os
from functools import partial
from pathlib import Path
import numpy as np, jax, jax.numpy as jnp, optax
from safetensors.numpy import save_file

START = time.time()
SECONDS, OUT = float(sys.argv[1]), Path(sys.argv[2]); OUT.mkdir(parents=True, exist_ok=True)
FOLDER = Path(os.environ.get("FASHION", "data/fashion_mnist"))
env = lambda name, default: type(default)(os.environ.get(name, default))
LATENT, CHANNELS, BLOCKS, COMPONENTS, FEATURES = env("LATENT", 16), env("CHANNELS", 128), env("BLOCKS", 4), env("COMPONENTS", 10), 32
BATCH, RATE, DECAY, DROP, SEED = env("BATCH", 256), env("RATE", 1.5e-3), env("DECAY", 0.01), env("DROP", 0.0), env("SEED", 0)
ROWS, SIDE_COLS = 4, 5           # first layer's window: 4 rows above, 5 columns to either side
TOP, UNIT = 255 / 64, 64         # activations are multiples of 1/64 from 0 to 255/64
HELD_OUT = 5000

def images(name):
    return np.frombuffer(gzip.decompress((FOLDER / name).read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)

# --- Combs: many images were stretched, x = floor(k * (255 / n)) for k = 0..n, so only n + 1 levels occur
COMBS = [np.unique(np.floor(np.arange(n + 1) * (255 / n)).astype(int)) for n in range(1, 256)]  # index n - 1
NEXT_LO, NEXT_HI = np.zeros((256, 256), np.int32), np.zeros((256, 256), np.int32)  # sums of neighbouring levels: edges in half levels
INF = 1 << 20
for n in range(1, 256):
    s = COMBS[n - 1]
    for j, v in enumerate(s):
        NEXT_LO[n, v] = -INF if j == 0 else s[j - 1] + v
        NEXT_HI[n, v] = INF if j == len(s) - 1 else v + s[j + 1]

def comb_of(x):
    present = np.stack([np.bincount(i.ravel(), minlength=256) > 0 for i in x])
    best = np.full(len(x), 255, np.int32)
    for n in range(254, 0, -1):
        absent = np.ones(256, bool); absent[COMBS[n - 1]] = False
        best[~(present[:, absent].any(1))] = n
    return best

# --- The model
def act(h):
    c = jnp.clip(h, 0.0, TOP)
    return c + jax.lax.stop_gradient(jnp.floor(c * UNIT + 0.5) / UNIT - c)

def conv(h, w, pad="SAME", stride=1):
    return jax.lax.conv_general_dilated(h, w, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC"))

def d2s(h):
    b, y, x, c = h.shape
    return h.reshape(b, y, x, 2, 2, c // 4).swapaxes(2, 3).reshape(b, 2 * y, 2 * x, c // 4)

def first_mask():
    m = np.ones((ROWS + 1, 2 * SIDE_COLS + 1, 1, 1), np.float32); m[ROWS, SIDE_COLS:] = 0; return m

def block_mask():
    m = np.ones((2, 3, 1, 1), np.float32); m[1, 2] = 0; return m

def new_params(key):
    keys = iter(jax.random.split(key, 64))
    def w(*shape, scale=1.0, fan=None):
        fan = fan or int(np.prod(shape[:-1])); return jax.random.normal(next(keys), shape) * scale * (1 / fan) ** 0.5
    C, F = CHANNELS, FEATURES
    out = np.zeros(3 * COMPONENTS, np.float32)
    out[COMPONENTS:2 * COMPONENTS] = np.linspace(-1, 1, 2 * COMPONENTS + 1)[1::2]; out[2 * COMPONENTS:] = -2
    window = ROWS * (2 * SIDE_COLS + 1) + SIDE_COLS
    p = {
        "encoder.patch.kernel": w(4, 4, 2, 64, scale=1.4), "encoder.patch.bias": jnp.zeros(64),
        "encoder.conv.kernel": w(3, 3, 64, 128, scale=1.4), "encoder.conv.bias": jnp.zeros(128),
        "encoder.dense.kernel": w(49 * 128, 256, scale=1.4), "encoder.dense.bias": jnp.zeros(256),
        "encoder.heads.kernel": w(256, 2 * LATENT, scale=0.5), "encoder.heads.bias": jnp.zeros(2 * LATENT),
        "decoder.latent.kernel": w(LATENT + 2, 49 * 64, scale=1.4), "decoder.latent.bias": jnp.zeros(49 * 64) + 0.1,
        "decoder.double.kernel": w(3, 3, 64, 128, scale=1.4), "decoder.double.bias": jnp.zeros(128),
        "decoder.redouble.kernel": w(3, 3, 32, 4 * F, scale=1.4), "decoder.place": w(28, 28, F, fan=16) + 0.2,
        "pixel.window.kernel": w(ROWS + 1, 2 * SIDE_COLS + 1, 2, C, fan=2 * window), "pixel.window.bias": jnp.zeros(C) + 0.2,
        "pixel.window.features": w(F, C),
        "pixel.out.kernel": w(C, 3 * COMPONENTS, scale=0.3), "pixel.out.bias": jnp.array(out), "pixel.out.features": w(F, 3 * COMPONENTS, scale=0.1),
        "pixel.out.window": w(ROWS + 1, 2 * SIDE_COLS + 1, 2, 3 * COMPONENTS, fan=2 * window, scale=0.1),
    }
    for b in range(BLOCKS):
        p |= {f"pixel.block{b}.kernel": w(2, 3, C, C, fan=5 * C, scale=1.4), f"pixel.block{b}.bias": jnp.zeros(C),
              f"pixel.block{b}.features": w(F, C), f"pixel.block{b}.back": w(C, C, scale=0.1)}
    return p

def inputs(x):
    return jnp.stack([x / 256, jnp.where(x > 0, 1.0, 0.0)], axis=-1)  # (b, 28, 28, 2)

def encode(p, x):
    h = act(conv(inputs(x), p["encoder.patch.kernel"], "VALID", 4) + p["encoder.patch.bias"])
    h = act(conv(h, p["encoder.conv.kernel"]) + p["encoder.conv.bias"])
    h = act(h.reshape(len(x), -1) @ p["encoder.dense.kernel"] + p["encoder.dense.bias"])
    mean, log_std = jnp.split(h @ p["encoder.heads.kernel"] + p["encoder.heads.bias"], 2, axis=-1)
    return jnp.clip(mean, -7, 7), jnp.clip(log_std, -5, 0.5)

def features(p, z, n):
    n = n.astype(jnp.float32)
    zn = jnp.concatenate([z, (n[:, None] - 224) / 32, jnp.where(n[:, None] == 255, 1.0, 0.0)], axis=1)
    h = act(zn @ p["decoder.latent.kernel"] + p["decoder.latent.bias"]).reshape(len(z), 7, 7, 64)
    h = act(d2s(conv(h, p["decoder.double.kernel"]) + p["decoder.double.bias"]))
    return act(d2s(conv(h, p["decoder.redouble.kernel"])) + p["decoder.place"])

def mixtures(p, x, f, key=None):
    u = inputs(x)
    pad = ((ROWS, 0), (SIDE_COLS, SIDE_COLS))
    h = conv(u, p["pixel.window.kernel"] * first_mask(), pad) + p["pixel.window.bias"] + f @ p["pixel.window.features"]
    for b in range(BLOCKS):
        a = conv(act(h), p[f"pixel.block{b}.kernel"] * block_mask(), ((1, 0), (1, 1)))
        a = act(a + p[f"pixel.block{b}.bias"] + f @ p[f"pixel.block{b}.features"])
        if key is not None and DROP:
            a = a * jax.random.bernoulli(jax.random.fold_in(key, b), 1 - DROP, a.shape) / (1 - DROP)
        h = h + a @ p[f"pixel.block{b}.back"]
    out = act(h) @ p["pixel.out.kernel"] + p["pixel.out.bias"] + f @ p["pixel.out.features"]
    return out + conv(u, p["pixel.out.window"] * first_mask(), pad)

LO, HI = jnp.array(NEXT_LO), jnp.array(NEXT_HI)

def log_likelihood(out, x, n):
    logits, means, log_scales = jnp.split(out, 3, axis=-1)
    slope = jnp.exp(-jnp.clip(log_scales, -7, 3))
    lo, hi = LO[n[:, None, None], x], HI[n[:, None, None], x]
    a = ((lo / 255 - 1)[..., None] - means) * slope
    b = ((hi / 255 - 1)[..., None] - means) * slope
    bottom, top = (lo == -INF)[..., None], (hi == INF)[..., None]
    width = jnp.where(bottom | top, 1.0, b - a)
    inside = jnp.where(bottom | top, 0.0, jnp.log(-jnp.expm1(-width)))
    log_p = inside - jnp.where(top, 0.0, jax.nn.softplus(-b)) - jnp.where(bottom, 0.0, jax.nn.softplus(a))
    log_p = jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_p, axis=-1)
    return jnp.logaddexp(log_p, -16.0).sum((1, 2)) if False else log_p.sum((1, 2))

def terms(p, key, x, n, drop=None):
    mean, log_std = encode(p, x)
    z = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    rate = 0.5 * (jnp.exp(2 * log_std) + mean**2 - 1 - 2 * log_std).sum(1)
    return rate, -log_likelihood(mixtures(p, x, features(p, z, n), drop), x, n)

def loss(p, key, x, n, beta):
    k1, k2 = jax.random.split(key)
    rate, distortion = terms(p, k1, x, n, k2)
    return (distortion + beta * rate).mean()

OPTIMIZER = optax.chain(optax.clip_by_global_norm(2000.0), optax.scale_by_adam(b2=0.995))
matrix = lambda name: name.endswith(("kernel", "features", "back", "window"))

@partial(jax.jit, donate_argnums=(0, 1, 2))
def step(p, ema, state, key, i, data, combs, lr, beta, decay):
    k1, k2, k3 = jax.random.split(jax.random.fold_in(key, i), 3)
    pick = jax.random.randint(k1, (BATCH,), 0, len(data))
    x, n = data[pick].astype(jnp.int32), combs[pick]
    x = jnp.where(jax.random.bernoulli(k2, shape=(BATCH, 1, 1)), x[:, :, ::-1], x)
    value, g = jax.value_and_grad(loss)(p, k3, x, n, beta)
    g, state = OPTIMIZER.update(g, state, p)
    p = {k: v - lr * (g[k] + (DECAY * v if matrix(k) else 0)) for k, v in p.items()}
    ema = {k: decay * e + (1 - decay) * p[k] for k, e in ema.items()}
    return p, ema, state, value

eval_terms = jax.jit(terms)

def evaluate(p, x, n, size=500):
    total = np.zeros(2)
    for i in range(0, len(x), size):
        r, d = eval_terms(p, jax.random.key(i), jnp.asarray(x[i:i + size].astype(np.int32)), jnp.asarray(n[i:i + size]))
        total += [float(r.sum()), float(d.sum())]
    rate, distortion = total / len(x) / 784 / np.log(2)
    return {"rate": round(rate, 5), "distortion": round(distortion, 5)}

def main():
    train, test = images("train-images-idx3-ubyte.gz"), images("t10k-images-idx3-ubyte.gz")
    few = int(os.environ.get("FEW", 0))
    combs, test_combs = comb_of(train), comb_of(test)
    if os.environ.get("NO_COMB"): combs[:] = 255; test_combs[:] = 255
    held, held_n = train[-HELD_OUT:], combs[-HELD_OUT:]
    if few: held, held_n, test, test_combs = held[:few], held_n[:few], test[:few], test_combs[:few]
    freq = np.bincount(combs[:-HELD_OUT], minlength=256) + 0.5; freq[0] = 0; code = -np.log2(freq / freq.sum()) / 784 if True else 0
    freq[0] = 0.5
    data, data_n = jnp.asarray(train[:-HELD_OUT]), jnp.asarray(combs[:-HELD_OUT])
    print("comb bits/dim held out", code[held_n].mean(), "test", code[test_combs].mean(), "images with a comb", (combs < 255).mean(), flush=True)
    key = jax.random.key(SEED)
    p = new_params(jax.random.fold_in(key, 999)); ema = jax.tree.map(jnp.copy, p); state = OPTIMIZER.init(p)
    print("parameters", {k: v.size for k, v in p.items()}, sum(v.size for v in p.values()), flush=True)
    log = open(OUT / "log.jsonl", "w")
    def save(name, tree, about=None):
        tmp = OUT / f"{name}.part"
        save_file({k: np.asarray(v) for k, v in tree.items()}, tmp, metadata={k: str(v) for k, v in (about or {}).items()}); os.replace(tmp, OUT / f"{name}.safetensors")
    i, losses, begin, last_save, last_eval = 0, [], None, time.time(), time.time()
    reserve = min(45.0, 0.15 * SECONDS)
    while True:
        elapsed = time.time() - START
        if begin is None: fraction = 0.0
        else: fraction = (time.time() - begin) / max(1e-3, (START + SECONDS - reserve) - begin)
        if fraction >= 1: break
        warm = min(1.0, i / 300)
        lr = RATE * warm * (0.5 * (1 + np.cos(np.pi * fraction)) * 0.99 + 0.01)
        beta = min(1.0, 0.2 + fraction / 0.15)
        decay = min(0.999, (1 + i) / (10 + i))
        p, ema, state, value = step(p, ema, state, key, i, data, data_n, lr, beta, decay)
        losses.append(value); i += 1
        if len(losses) >= 20:   # waits for the device, so that the clock is right
            v = np.array([float(l) for l in losses])
            if begin is None: begin = time.time(); print("compiled", time.time() - START, flush=True)
            losses = []
            if not np.isfinite(v).all(): print("DIVERGED at", i, v, flush=True); sys.exit(3)
            if i % 200 == 0:
                record = {"step": i, "s": round(time.time() - START, 1), "train": round(v.mean() / 784 / np.log(2), 4), "lr": round(float(lr), 6)}
                if time.time() - last_eval > 30 or i == 200:
                    record |= {"held_ema": evaluate(ema, held[:1000], held_n[:1000])}; last_eval = time.time()
                print(json.dumps(record), flush=True); log.write(json.dumps(record) + "\n"); log.flush()
            if time.time() - last_save > 60: save("ema", ema, {"step": i}); save("raw", p, {"step": i}); last_save = time.time()
    about = {"steps": i, "seconds": round(time.time() - START), "device": jax.devices()[0].device_kind, "config": json.dumps({k: globals()[k] for k in ("LATENT", "CHANNELS", "BLOCKS", "COMPONENTS", "BATCH", "RATE", "DECAY", "DROP", "SEED")})}
    save("ema", ema, about); save("raw", p, about)
    for name, tree in (("ema", ema), ("raw", p)):
        h = evaluate(tree, held, held_n); about[f"held_out_{name}"] = json.dumps(h | {"sum": round(sum(h.values()) + code[held_n].mean(), 4)})
    save("ema", ema, about); save("raw", p, about)
    t = evaluate(ema, test, test_combs); about["test_ema"] = json.dumps(t | {"sum": round(sum(t.values()) + code[test_combs].mean(), 4)})
    sums = {k: round(float(np.abs(np.asarray(v).reshape(-1, v.shape[-1])).sum(0).max()), 2) for k, v in ema.items() if matrix(k)}
    about["largest_column_sums"] = json.dumps(sums)
    save("ema", ema, about); save("raw", p, about)
    print(json.dumps(about, indent=0), flush=True); (OUT / "about.json").write_text(json.dumps(about, indent=1))

main()
