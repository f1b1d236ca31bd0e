"""The command line: `python -m vae_lib train` and `python -m vae_lib progress`."""

import argparse
import sys
from pathlib import Path

from vae_lib.exercises.progress import NOTEBOOKS, summary

TRAIN_HELP = """\
Trains the models whose weights the later notebooks load, and writes them with what produced them.

  python -m vae_lib train fashion-vae --out fashion_vae.safetensors
  python -m vae_lib train latent-sweep --out latent_sweep.safetensors

fashion-vae is the course's VAE for Fashion-MNIST; its official test set is measured once, at the end. latent-sweep are
the small VAEs that notebook 08 compares. The loss is the negative ELBO in bits per dimension: what a pixel of an image
costs. A run can be stopped at any time (Ctrl-C); the same command goes on from the last checkpoint (OUT.checkpoint; one
for each model of the sweep), and ends with the same weights as if it had never stopped.
"""

PROGRESS_HELP = """\
Reads the saved outputs of the check cells and shows which exercises are done: ✓ correct, ✗ not yet, ○ not attempted.
Save the notebook first; there is no other state.
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m vae_lib", description="Image compression with variational autoencoders."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    style = argparse.RawDescriptionHelpFormatter

    train = commands.add_parser(
        "train", help="train a model and write its weights", description=TRAIN_HELP, formatter_class=style
    )
    train.add_argument("model", choices=["fashion-vae", "latent-sweep"], help="which model")
    train.add_argument("--out", type=Path, required=True, help="weights file to write (.safetensors)")
    train.add_argument(
        "--steps", type=int, default=None, help="gradient steps (default: those of the committed weights)"
    )
    train.add_argument("--seed", type=int, default=0, help="seed of weights, order and samples (default 0)")

    progress = commands.add_parser(
        "progress", help="show which exercises are done", description=PROGRESS_HELP, formatter_class=style
    )
    progress.add_argument(
        "--notebooks", type=Path, default=NOTEBOOKS, help="folder of the notebooks (default: the course's)"
    )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one line on stderr when it could not."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "progress":
            print(summary(options.notebooks))
        else:
            train(options)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if type(error).__module__.startswith("vae_lib") or isinstance(error, (ValueError, OSError)):
            print(f"vae_lib {options.command}: {error}", file=sys.stderr)
            return 2
        raise
    return 0


def train(options: argparse.Namespace) -> None:
    """Train the named model; imports JAX, which the other commands do without."""
    from vae_lib.recipes import train_fashion_vae, train_latent_sweep

    if options.steps is not None and options.steps < 1:
        raise ValueError(f"expected at least one step, got {options.steps}")
    if options.out.suffix != ".safetensors":
        raise ValueError(f"expected a name that ends in .safetensors, got {options.out}")
    if not options.out.parent.is_dir():
        raise ValueError(f"expected an existing folder for {options.out.name}, got {options.out.parent}")
    recipe = {"fashion-vae": train_fashion_vae, "latent-sweep": train_latent_sweep}[options.model]
    recipe(options.out, steps=options.steps, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())
