"""Files that were made once and are read the same for ever: by both readers, in any process, on floats a bit off."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from make_golden import GOLDEN, PICTURES, digests, picture

from vae_lib import codec, decoder
from vae_lib.metrics import psnr

CONTENTS = json.loads((GOLDEN / "contents.json").read_text())
READERS = [codec.FastReader, decoder.PythonReader]


def recorded(name: str) -> dict[str, str]:
    return {what: CONTENTS[name][what] for what in ("file", "latent")}


@pytest.fixture(scope="module")
def weights():
    return codec.load_weights()


def test_every_golden_file_is_recorded():
    assert {path.stem for path in GOLDEN.glob("*.vic")} == set(CONTENTS) == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("reader", READERS)
def test_golden_files_hold_the_recorded_symbols_and_pictures(weights, name, reader):
    data = (GOLDEN / f"{name}.vic").read_bytes()
    assert digests(data, weights, reader) == recorded(name)
    x_uint8 = decoder.decode(data, weights, reader)
    assert x_uint8.shape == picture(name).shape
    assert psnr(picture(name), x_uint8) == pytest.approx(CONTENTS[name]["psnr"], abs=0.02)  # pixels round as they may


FRESH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from make_golden import GOLDEN, PICTURES, digests
from vae_lib import codec, decoder
weights = codec.load_weights()
for name in PICTURES:
    for reader in codec.FastReader, decoder.PythonReader:
        print(json.dumps([name, digests((GOLDEN / f"{name}.vic").read_bytes(), weights, reader)]))
assert "jax" not in sys.modules  # so no flag of XLA can matter, and none does
"""


@pytest.mark.parametrize(("threads", "core"), [("1", "Haswell"), ("2", "SkylakeX"), ("2", "Prescott")])
def test_a_fresh_process_reads_the_recorded_symbols(threads, core):
    """With one and two threads, and with BLAS kernels of other processors, which sum in another order."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OPENBLAS_CORETYPE": core}
    environment["XLA_FLAGS"] = "--xla_cpu_enable_fast_math=true"
    command = [sys.executable, "-c", FRESH, str(GOLDEN.parent)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        [name, recorded(name)] for name in PICTURES for _ in READERS
    ]


@pytest.mark.parametrize("towards", [-np.inf, 0, np.inf])
def test_floats_one_ulp_off_read_the_recorded_symbols(towards):
    """Every float weight is moved, after loading: the model's id is a hash of what was loaded."""
    weights = codec.load_weights()
    moved = 0
    for name, array in weights.arrays.items():
        if array.dtype == np.float32:
            weights.arrays[name] = np.nextafter(array, np.float32(towards))
            moved += np.count_nonzero(weights.arrays[name] != array)
    assert moved > 100_000
    for name in PICTURES:
        data = (GOLDEN / f"{name}.vic").read_bytes()
        assert all(digests(data, weights, reader) == recorded(name) for reader in READERS)


def test_an_integer_weight_one_off_reads_other_symbols(weights):
    """So the digests do watch the entropy path."""
    other = codec.load_weights()
    other.arrays["heads.0.two.bias"] = other["heads.0.two.bias"] + (1 << 20)
    data = (GOLDEN / "colour_50.vic").read_bytes()
    with pytest.raises(codec.CodecError, match="damaged"):
        digests(data, other, codec.FastReader)
