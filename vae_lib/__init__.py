"""What the notebooks built: one module an idea, in the order of the course; a later one may import an earlier one."""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"vae_lib expects Python 3.11 or newer, got {sys.version.split()[0]}: `uv run` fetches one.")
