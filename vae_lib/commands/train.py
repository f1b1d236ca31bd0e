"""Models whose weights the notebooks load, trained and written with what produced them."""

import argparse
from pathlib import Path

from vae_lib.commands.output import check_folder

SUMMARY = "train a model and write its weights"
HELP = """\
Trains the models whose weights the later notebooks load, and writes them with what produced them.

  python -m vae_lib train fashion-vae --out fashion_vae.safetensors
  python -m vae_lib train latent-sweep --out latent_sweep.safetensors
  python -m vae_lib train codec --photos FOLDER... --validation FOLDER --out codec.safetensors

fashion-vae is the course's VAE for Fashion-MNIST; its official test set is measured once, at the end. latent-sweep are
the small VAEs that notebook 08 compares. Their loss is the negative ELBO in bits per dimension: what a pixel of an
image costs. codec is the codec for photographs; its loss is R + lambda D over all qualities. Beside its weights, a log
(.json) and a figure (.png) are written, with the validation curves in real bytes; data/README.md says which photographs
the committed weights were trained on.

A run can be stopped at any time (Ctrl-C); the same command goes on from the last checkpoint (OUT.checkpoint; one for
each model of the sweep), and ends with the same weights as if it had never stopped.

fashion-vae can be trained on several machines. Start the same command on each, with its own number; process 0 waits at
HOST:PORT for the others, and alone writes. Where one is lost, all end: start all again, with the same checkpoint (on a
shared file system, or copied to each). --devices splits one machine's CPU into several devices, to try it out.

  python -m vae_lib train fashion-vae --out OUT --coordinator 10.0.0.1:1234 --processes 2 --process 0
  python -m vae_lib train fashion-vae --out OUT --coordinator 10.0.0.1:1234 --processes 2 --process 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=["fashion-vae", "latent-sweep", "codec"], help="which model")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="codec: folders of photographs to train on")
    parser.add_argument("--validation", type=Path, help="codec: folder of photographs to watch")
    parser.add_argument("--out", type=Path, required=True, help="weights file to write (.safetensors)")
    parser.add_argument(
        "--steps", type=int, default=None, help="gradient steps (default: those of the committed weights)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and samples (default 0)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 can be reached by the others")
    parser.add_argument("--processes", type=int, metavar="N", help="how many processes train together")
    parser.add_argument("--process", type=int, metavar="I", help="number of this one, from 0 to N - 1")
    parser.add_argument("--devices", type=int, metavar="K", help="train on K simulated devices of this CPU")


def run(options: argparse.Namespace) -> None:
    """Train the named model; imports JAX, which the other commands do without."""
    if options.steps is not None and options.steps < 1:
        raise ValueError(f"expected at least one step, got {options.steps}")
    if options.out.suffix != ".safetensors":
        raise ValueError(f"expected a name that ends in .safetensors, got {options.out}")
    check_folder(options.out)
    together = (options.coordinator, options.processes, options.process)
    if None in together and any(option is not None for option in together):
        raise ValueError("expected --coordinator, --processes and --process together")
    parallel = options.coordinator is not None or options.devices is not None
    if parallel and options.model != "fashion-vae":
        raise ValueError(
            f"expected one process and device for {options.model}: only fashion-vae is split among several"
        )
    if options.devices is not None and options.devices < 1:
        raise ValueError(f"expected at least one device, got {options.devices}")
    if options.model == "codec":
        if not options.photos or options.validation is None:
            raise ValueError("train codec: expected --photos FOLDER... and --validation FOLDER")
        from vae_lib.workshop.codec_training import train_codec

        train_codec(options.photos, options.validation, options.out, steps=options.steps, seed=options.seed)
    elif options.model == "latent-sweep":
        from vae_lib.workshop.fashion_vaes import train_latent_sweep

        train_latent_sweep(options.out, steps=options.steps, seed=options.seed)
    else:
        from vae_lib.workshop.fashion_vaes import train_fashion_vae

        mesh = mesh_of(options) if parallel else None
        given = {name: getattr(options, name) for name in ("coordinator", "processes", "process", "devices")}
        where = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
        train_fashion_vae(options.out, steps=options.steps, seed=options.seed, mesh=mesh, where=where)


def mesh_of(options: argparse.Namespace):
    """The devices that train together, after all processes have met."""
    import jax

    from vae_lib.workshop import parallel

    if options.devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.coordinator is not None:
        parallel.join(options.coordinator, options.processes, options.process)
    return parallel.data_mesh()
