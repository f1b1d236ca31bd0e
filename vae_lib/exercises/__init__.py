"""The exercises: `check` looks at an answer and says what is wrong with it, `progress` shows what is done.

One module a notebook (`notebook_00.py` ...) lists its exercises; `engine.py` runs them; `progress.py` reads what
the notebooks saved.
"""

from vae_lib.exercises.engine import check
from vae_lib.exercises.progress import progress

__all__ = ["check", "progress"]
