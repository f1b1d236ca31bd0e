"""Attacks on the decoder: damaged, forged and hostile `.vic` files, each made from a number, to be repeated.

    python tests/library/attack_decoder.py --files 10000

decodes them with both readers in processes of limited memory and time, hands a sample to the command line, and prints
what became of them. `test_attacks.py` runs a few hundred in its own process. More than half are *sealed*: all
checksums are computed anew, so that they reach what lies behind the checksums.
"""

import argparse
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_lib import codec, decoder
from vae_lib.decoder import HEADER, SECTION, SYMBOL_MAX, Header
from vae_lib.images import load_photographs

SECONDS = 5  # of the processor, that a file may take
BYTES = 2_000_000_000  # that a process may take
ONE_THREAD = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # for small pictures, more threads wait more than they work
EMPTY = struct.pack("<II", 1, 0)  # a section without symbols: a state of 2^32
EXTREMES = {"version": [0, 2, 255], "grey": [0, 1, 2, 255], "quality": [0, 100, 101, 255]}
SIDES = [0, 1, 7, 8, 9, 1023, 1024, 1025, 8192, 32768, 65535]


class File(NamedTuple):
    """A `.vic` file in its parts."""

    header: dict[str, int]
    sections: list[bytes]


class Attack(NamedTuple):
    kind: str
    sealed: bool  # whether the checksums are right
    data: bytes


def parts(data: bytes, weights: codec.CodecWeights) -> File:
    header = decoder.read_header(data, weights)
    return File({"version": 1, **header._asdict()}, decoder.sections(data, 2 * len(list(decoder.tiles(header)))))


def seal(file: File, weights: codec.CodecWeights) -> bytes:
    """The bytes of a file of these parts, with right checksums."""
    h = file.header
    fields = h["version"], h["grey"], h["quality"], weights.model, h["height"], h["width"]
    start = HEADER.pack(decoder.MAGIC, *fields, 0)[:-4]
    start += struct.pack("<I", zlib.crc32(start))
    data, checksum = start, zlib.crc32(start)
    for content in file.sections:
        checksum = zlib.crc32(content, checksum)
        data += SECTION.pack(len(content), checksum) + content
    return data


def originals(weights: codec.CodecWeights) -> list[bytes]:
    """Small files: colour, grey, a single pixel, and two tiles."""
    x_uint8 = load_photographs("train")["life"]
    grey = np.repeat(x_uint8[352:385, 32:49, 1:2], 3, axis=2)
    pictures = [(x_uint8[352:392, 132:188], 60), (grey, 90), (x_uint8[:1, :1], 50), (x_uint8[400:405, :1030], 20)]
    return [codec.encode(picture, weights, quality) for picture, quality in pictures]


# Without the checksums. Each takes the generator of random numbers, the bytes and their parts, and returns bytes.


def flip(rng, data: bytes, file: File) -> bytes:
    damaged = bytearray(data)
    for place in rng.choice(8 * len(data), rng.integers(1, 9), replace=False):
        damaged[place // 8] ^= 1 << (place % 8)
    return bytes(damaged)


def cut(rng, data: bytes, file: File) -> bytes:
    return data[: rng.integers(len(data))]


def extend(rng, data: bytes, file: File) -> bytes:
    return data + rng.bytes(rng.integers(1, 40))


def overwrite(rng, data: bytes, file: File) -> bytes:
    start = rng.integers(len(data))
    length = rng.integers(1, 20)
    return data[:start] + rng.bytes(length) + data[start + length :]


def swap(rng, data: bytes, file: File) -> bytes:
    """Two sections change places, or one is dropped or doubled, each with the checksum that it had."""
    pieces, place = [], HEADER.size
    for section in file.sections:
        pieces.append(data[place : place + SECTION.size + len(section)])
        place += len(pieces[-1])
    return data[: HEADER.size] + b"".join(shuffle(rng, pieces))


def rubbish(rng, data: bytes, file: File) -> bytes:
    """Random bytes after the magic, or after a good header."""
    return data[: rng.choice([0, 3, HEADER.size])] + rng.bytes(rng.integers(200))


def shuffle(rng, pieces: list[bytes]) -> list[bytes]:
    pieces, (one, other) = list(pieces), rng.choice(len(pieces), 2, replace=False)
    match rng.integers(3):
        case 0:
            pieces[one], pieces[other] = pieces[other], pieces[one]
        case 1:
            del pieces[one]
        case _:
            pieces.insert(one, pieces[other])
    return pieces


# With the checksums. Each returns the parts of a file.


def sealed_flip(rng, file: File, weights) -> File:
    return change(rng, file, lambda section: flip(rng, section, file))


def sealed_cut(rng, file: File, weights) -> File:
    return change(rng, file, lambda section: cut(rng, section, file))


def sealed_extend(rng, file: File, weights) -> File:
    return change(rng, file, lambda section: section + rng.bytes(rng.choice([1, 2, 3, 4, 8, 400])))


def sealed_word(rng, file: File, weights) -> File:
    """A word becomes 0, 1 or all ones; often the first, which is half of the coder's state."""

    def replace(section: bytes) -> bytes:
        words = np.frombuffer(section, "<u4").copy()
        words[rng.choice([0, 1, rng.integers(len(words))])] = rng.choice([0, 1, 2**32 - 1])
        return words.tobytes()

    return change(rng, file, replace)


def sealed_swap(rng, file: File, weights) -> File:
    return File(file.header, shuffle(rng, file.sections))


def sealed_random(rng, file: File, weights) -> File:
    return File(file.header, [rng.bytes(rng.choice([0, 4, 7, 8, 12, 40, 400, 4000])) for _ in file.sections])


def sealed_header(rng, file: File, weights) -> File:
    """A field of the header at an extreme, the sections as they were."""
    field = rng.choice([*EXTREMES, "height", "width"])
    return File(file.header | {field: rng.choice(EXTREMES.get(field, SIDES))}, file.sections)


def sealed_huge(rng, file: File, weights) -> File:
    """A picture of any size, up to the largest, with as many sections as it must have, all next to empty."""
    size = {"height": int(rng.choice(SIDES)), "width": int(rng.choice(SIDES))}
    tiles = len(list(decoder.tiles(Header(**size, grey=False, quality=0))))
    content = EMPTY if rng.random() < 0.5 else rng.bytes(4 * rng.integers(2, 12))
    return File(file.header | size, [content] * min(2 * tiles, 200))


def sealed_wild(rng, file: File, weights) -> File:
    """Symbols that no encoder would choose, properly coded: a right file of a picture that never was."""
    height, width, quality = rng.integers(1, 64), rng.integers(1, 64), rng.integers(101)
    size, most = (-(-height // 8), -(-width // 8)), rng.choice([1, 10, SYMBOL_MAX])
    writers = codec.Writer(weights), codec.Writer(weights)

    def write(writer: codec.Writer, scale: np.ndarray) -> np.ndarray:
        symbols = rng.integers(-most, most + 1, scale.shape) * (scale > 0.0)
        writer(symbols, scale)
        return symbols

    h_hat = write(writers[0], decoder.hyper_scale(size, quality, weights))
    features = decoder.hyper_features(h_hat, quality, weights)[: size[0], : size[1]]
    decoder.walk(features, weights, lambda blocks, channels, mean, scale: write(writers[1], scale))
    header = {"version": 1, "grey": rng.integers(2), "quality": quality, "height": height, "width": width}
    return File(header, [writer.section() for writer in writers])


def change(rng, file: File, how: Callable[[bytes], bytes]) -> File:
    """The file with one of its sections changed."""
    sections = list(file.sections)
    number = rng.integers(len(sections))
    sections[number] = how(sections[number])
    return File(file.header, sections)


UNSEALED = [flip, cut, extend, overwrite, swap, rubbish]
SEALED = [sealed_flip, sealed_cut, sealed_extend, sealed_word, sealed_swap, sealed_random, sealed_header, sealed_huge]
SEALED += [sealed_wild]


class Attacker:
    """Makes the attack of each number and sees what becomes of it."""

    def __init__(self):
        self.weights = codec.load_weights()
        self.originals = originals(self.weights)
        self.files = [parts(data, self.weights) for data in self.originals]

    def attack(self, number: int) -> Attack:
        rng = np.random.default_rng(number)
        original = rng.integers(len(self.files))
        how = [*UNSEALED, *SEALED][number % len([*UNSEALED, *SEALED])]
        if how in SEALED:
            return Attack(how.__name__, True, seal(how(rng, self.files[original], self.weights), self.weights))
        data = how(rng, self.originals[original], self.files[original])
        same = data == self.originals[original]  # such as two equal sections that changed places
        return Attack(how.__name__, False, data[:-1] if same else data)

    def outcome(self, attack: Attack) -> str:
        """decoded, refused, unnoticed, disagreed (the two readers), or what kind of crash."""
        try:
            with warnings.catch_warnings(action="error"):
                results = [self.latent(attack.data, reader) for reader in (codec.FastReader, decoder.PythonReader)]
                if not np.array_equal(*results):
                    return "disagreed"
                if not results[0].size:
                    codec_errors = [self.refused(read, attack.data) for read in (codec.decode, codec.ledger)]
                    return "refused" if all(codec_errors) else "disagreed"
                codec.decode(attack.data, self.weights)
                codec.ledger(attack.data, self.weights)
            return "decoded" if attack.sealed else "unnoticed"
        except Exception as error:
            return f"crash: {type(error).__name__}"

    def latent(self, data: bytes, reader: type) -> np.ndarray:
        """What a reader makes of a file; nothing if it refuses."""
        try:
            return decoder.decode_latent(data, decoder.read_header(data, self.weights), self.weights, reader)
        except codec.CodecError:
            return np.empty(0)

    def refused(self, read: Callable, data: bytes) -> bool:
        try:
            read(data, self.weights)
        except codec.CodecError:
            return True
        return False


def work(numbers: range) -> None:
    """One process's share: a line of JSON for each file. A file that takes too long ends the process."""
    attacker = Attacker()
    limit()
    for number in numbers:
        attack = attacker.attack(number)
        limit(SECONDS)
        start = time.process_time()
        outcome = attacker.outcome(attack)
        seconds = time.process_time() - start
        limit()
        print(json.dumps([number, attack.kind, outcome, seconds, peak(resource.RUSAGE_SELF)]), flush=True)


def limit(seconds: float = 0) -> None:
    """Take no more memory than BYTES, and from now on no more than these seconds: the next ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def peak(who: int) -> float:
    """Peak memory in MB."""
    return resource.getrusage(who).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def share(numbers: range) -> list[list]:
    """Have a process do these numbers; when it dies, note at which, and have another go on."""
    rows: list[list] = []
    while len(numbers):
        command = [sys.executable, __file__, "--range", str(numbers.start), str(numbers.stop)]
        done = subprocess.run(command, env=ONE_THREAD, stdout=subprocess.PIPE, text=True)
        rows += map(json.loads, done.stdout.splitlines())
        numbers = range(rows[-1][0] + 1 if done.stdout else numbers.start, numbers.stop)
        if len(numbers):
            rows.append([numbers.start, "?", f"crash: process ended with {done.returncode}", SECONDS, 0.0])
            numbers = numbers[1:]
    return rows


def command_line(attack: Attack, folder: Path) -> list:
    """What `decompress` makes of an attack, in a process of its own."""
    source, target = folder / "attack.vic", folder / "attack.png"
    source.write_bytes(attack.data)
    command = [sys.executable, "-m", "vae_lib", "decompress", str(source), str(target)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: limit(SECONDS)) as process:
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, left = usage.ru_utime + usage.ru_stime, {path.name for path in folder.iterdir()} - {source.name}
    outcome = "crash: " + error[-200:]
    if process.returncode == 0 and left == {target.name} and not error:
        outcome = "decoded" if attack.sealed else "unnoticed"
        target.unlink()
    elif process.returncode == 2 and not left and error.startswith("vae_lib decompress: ") and error.count("\n") == 1:
        outcome = "refused"
    return ["command line", outcome, seconds, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)]


def report(rows: list[list]) -> bool:
    """Print a table of [kind, outcome, seconds, MB]; whether all is well."""
    print(
        f"{'attack':16s} {'files':>6s} {'decoded':>8s} {'refused':>8s} {'else':>6s} {'slowest s':>10s} {'peak MB':>8s}"
    )
    for kind in [*dict.fromkeys(row[0] for row in rows), "all"]:
        chosen = [row for row in rows if kind in (row[0], "all")]
        decoded, refused = (sum(row[1] == what for row in chosen) for what in ("decoded", "refused"))
        slowest, most = max(row[2] for row in chosen), max(row[3] for row in chosen)
        others = len(chosen) - decoded - refused
        print(f"{kind:16s} {len(chosen):6d} {decoded:8d} {refused:8d} {others:6d} {slowest:10.2f} {most:8.0f}")
    return not others


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    parser.add_argument("--command-line", type=int, default=100, help="how many of them by command line (default 100)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--range", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.range:
        work(range(*options.range))
        return 0
    numbers = range(options.first, options.first + options.files)
    shares = [numbers[start : start + 500] for start in range(0, len(numbers), 500)]
    with ThreadPoolExecutor(options.workers) as pool:
        results = sorted(row for rows in pool.map(share, shares) for row in rows)
    attacker = Attacker()
    rows = []
    for number, _, *result in results:
        kind = attacker.attack(number).kind
        rows.append([kind, *result])
        if result[0] not in ("decoded", "refused"):
            print(f"number {number}, {kind}: {result[0]}")
    rows.sort(key=lambda row: row[0])
    well = report(rows)
    with tempfile.TemporaryDirectory() as folder:
        sample = np.random.default_rng(0).choice(numbers, min(options.command_line, len(numbers)), replace=False)
        rows = [command_line(attacker.attack(number), Path(folder)) for number in sample.tolist()]
    for row in rows:
        if row[1] not in ("decoded", "refused"):
            print(row[1])
    return 0 if report(rows) and well else 1


if __name__ == "__main__":
    sys.exit(main())
