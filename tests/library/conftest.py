"""What JAX compiles for the core's tests is kept in pytest's cache, for the next run."""

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def keep_compiled_functions(pytestconfig: pytest.Config) -> None:
    if hasattr(pytestconfig, "cache"):  # not under -p no:cacheprovider
        jax.config.update("jax_compilation_cache_dir", str(pytestconfig.cache.mkdir("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
