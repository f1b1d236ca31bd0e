"""The command line, a file for each command: `python -m vae_lib --help` lists what it does.

A command's module has SUMMARY, HELP, `add_arguments` and `run`. What is heavy to import (JAX above all) is imported by
`run`, so that a command which does without it starts at once.
"""

import argparse
import os
import sys

from vae_lib.commands import ablation, benchmark, bits_back, compress, decompress, grade, info, progress, train

COMMANDS = {
    "compress": compress,
    "decompress": decompress,
    "info": info,
    "benchmark": benchmark,
    "bits-back": bits_back,
    "train": train,
    "ablation": ablation,
    "progress": progress,
    "grade": grade,
}


def parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m vae_lib", description="Image compression with variational autoencoders."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        style = argparse.RawDescriptionHelpFormatter
        command.add_arguments(
            commands.add_parser(name, help=command.SUMMARY, description=command.HELP, formatter_class=style)
        )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one line on stderr when it could not, 1 for some of many files."""
    options = parser().parse_args(arguments)
    code = run(options)
    if code and getattr(options, "coordinator", None):
        from jax import distributed

        if distributed.is_initialized():  # an ordinary exit would wait for the other processes, which may be gone
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def run(options: argparse.Namespace) -> int:
    try:
        return COMMANDS[options.command].run(options) or 0
    except KeyboardInterrupt:
        print(f"vae_lib {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if type(error).__module__.startswith("vae_lib") or isinstance(error, (ValueError, OSError, MemoryError)):
            print(f"vae_lib {options.command}: {error}", file=sys.stderr)
            return 2
        raise
