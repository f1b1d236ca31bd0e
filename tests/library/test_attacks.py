"""A few hundred of the attacks of `attack_decoder.py`, and the promises of the checksums and of the header."""

import os
import resource
import struct
import subprocess
import sys
import zlib
from collections import Counter

import attack_decoder
import pytest
from attack_decoder import SEALED, UNSEALED, Attacker

from vae_lib import codec, decoder
from vae_lib.commands import main


@pytest.fixture(scope="module")
def attacker():
    return Attacker()


def test_attacked_files_are_decoded_or_refused_by_both_readers_and_by_info():
    rows = attack_decoder.share(range(450))
    assert [row for row in rows if row[2] not in ("decoded", "refused")] == []
    outcomes = Counter((kind, outcome) for _, kind, outcome, _, _ in rows)
    assert len(SEALED) > len(UNSEALED)
    assert outcomes["sealed_wild", "decoded"] == 30  # they are right files, of pictures that never were
    assert all(outcomes[how.__name__, "refused"] == 30 for how in UNSEALED)


@pytest.mark.parametrize("command", ["decompress", "info"])
def test_the_command_line_refuses_in_one_line_and_writes_nothing(attacker, tmp_path, capsys, command):
    source, target = tmp_path / "attack.vic", tmp_path / "attack.png"
    for number in range(30):
        attack = attacker.attack(number)
        source.write_bytes(attack.data)
        status = main([command, str(source), *([str(target)] if command == "decompress" else [])])
        output = capsys.readouterr()
        assert status == (0 if attacker.outcome(attack) == "decoded" else 2), attack.kind
        if status:
            assert output.err.startswith(f"vae_lib {command}: ") and output.err.count("\n") == 1 and not output.out
            assert list(tmp_path.iterdir()) == [source]
        target.unlink(missing_ok=True)


def test_no_bit_of_a_file_can_change_unnoticed(attacker):
    for data in attacker.originals:
        damaged = bytearray(data)
        for bit in range(8 * len(data)):
            damaged[bit // 8] ^= 1 << (bit % 8)
            with pytest.raises(codec.CodecError):
                header = decoder.read_header(bytes(damaged), attacker.weights)
                decoder.sections(bytes(damaged), 2 * len(list(decoder.tiles(header))))
            damaged[bit // 8] ^= 1 << (bit % 8)


def test_a_file_that_is_cut_anywhere_says_that_it_is_truncated(attacker):
    for data in attacker.originals:
        for length in range(3, len(data)):
            with pytest.raises(codec.CodecError, match="truncated: expected"):
                codec.decode(data[:length], attacker.weights)


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0", b"\0\0\0\0", b"\1\0\0\0"])
def test_nothing_may_follow_the_last_symbol_of_a_section(attacker, tail):
    """Two files of one picture would be one too many: the reference once ignored up to three bytes."""
    file = attacker.files[0]
    for number in range(2):
        sections = [section + tail * (number == i) for i, section in enumerate(file.sections)]
        data = attack_decoder.seal(attack_decoder.File(file.header, sections), attacker.weights)
        for decode in (codec.decode, decoder.decode):
            with pytest.raises(codec.CodecError, match="damaged"):
                decode(data, attacker.weights)


HUGE = """
import resource, sys, time
from vae_lib import codec, decoder
weights = codec.load_weights()
data = open(sys.argv[1], "rb").read()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
for reader in (codec.FastReader, decoder.PythonReader):
    try:
        decoder.decode(data, weights, reader)
    except codec.CodecError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - start)
"""


def huge(attacker) -> bytes:
    """A header of 2^26 pixels, and all its 128 sections, each without a single symbol."""
    header = {"version": 1, "grey": 0, "quality": 100, "height": 8192, "width": 8192}
    return attack_decoder.seal(attack_decoder.File(header, [attack_decoder.EMPTY] * 128), attacker.weights)


def test_a_header_of_67_megapixels_before_a_few_bytes_costs_neither_memory_nor_time(attacker, tmp_path):
    data = huge(attacker)
    for content, expected in ((data[:40], "truncated"), (data, "damaged")):
        (tmp_path / "huge.vic").write_bytes(content)
        command = [sys.executable, "-c", HUGE, str(tmp_path / "huge.vic")]
        *errors, figures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(errors) == 2 and all(error.startswith(expected) for error in errors)
        kilobytes, seconds = map(float, figures.split())
        assert kilobytes < 100_000 and seconds < 2  # of 2,000,000 and 5


def test_a_file_without_end_is_read_no_further_than_a_picture_can_need(attacker, tmp_path, capsys):
    (tmp_path / "long.vic").write_bytes(attacker.originals[0])
    os.truncate(tmp_path / "long.vic", 4 << 30)  # sparse
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (tmp_path / "long.vic", "/dev/zero"):
        assert main(["decompress", str(path), str(tmp_path / "picture.png")]) == 2
        assert capsys.readouterr().err.startswith("vae_lib decompress: expected ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert not (tmp_path / "picture.png").exists()


def test_a_section_at_its_largest_is_still_read_whole(attacker, tmp_path):
    """Every symbol at the end of its table: the most bytes that a picture of one block can take."""
    weights, writers = attacker.weights, [codec.Writer(attacker.weights) for _ in range(2)]

    def write(writer, scale):
        symbols = decoder.SYMBOL_MAX * (scale > 0.0)
        writer(symbols, scale)
        return symbols

    h_hat = write(writers[0], decoder.hyper_scale((1, 1), 0, weights))
    features = decoder.hyper_features(h_hat, 0, weights)[:1, :1]
    decoder.walk(features, weights, lambda blocks, channels, mean, scale: write(writers[1], scale))
    header = {"version": 1, "grey": 0, "quality": 0, "height": 8, "width": 8}
    sections = [writer.section() for writer in writers]
    path = tmp_path / "largest.vic"
    path.write_bytes(attack_decoder.seal(attack_decoder.File(header, sections), weights))
    assert codec.load(path, weights) == path.read_bytes()
    assert codec.decode(path.read_bytes(), weights).shape == (8, 8, 3)


def test_a_file_of_another_model_or_another_version_is_told_so(attacker):
    data = attacker.originals[0]
    for place, value, expected in ((3, b"\2", "expected version 1 of the format, got 2"), (6, b"ABCD", "41424344")):
        start = (data[:place] + value + data[place + len(value) :])[: decoder.HEADER.size - 4]
        other = start + struct.pack("<I", zlib.crc32(start)) + data[decoder.HEADER.size :]
        with pytest.raises(codec.CodecError, match=expected):
            codec.decode(other, attacker.weights)
