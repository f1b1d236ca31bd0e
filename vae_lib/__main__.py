"""`python -m vae_lib`: the command line, which `vae_lib/commands/` holds."""

import sys

from vae_lib.commands import main

if __name__ == "__main__":
    sys.exit(main())
