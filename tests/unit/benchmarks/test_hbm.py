"""Channel loads on walks whose answer is known, and what a padded pitch does to them."""

import itertools

import pytest
from hbm import MI300_HBM, channel_loads, folded, overload, padded_pitch, plain

from aria_ray.errors import AriaError

L2 = plain(16, 256)
HBM = plain(128, 256)


def test_addresses_one_after_the_other_are_even_under_every_interleave():
    for interleave in (L2, HBM, plain(128, 4096), folded(128, 256), folded(16, 4096), MI300_HBM):
        period = interleave.num_channels * interleave.granularity_bytes
        assert set(channel_loads(1, 2**21, 0, interleave)) == {2**21 // interleave.num_channels}
        assert set(channel_loads(1, period, 0, interleave, start=5 * period)) == {interleave.granularity_bytes}


def test_rows_a_whole_period_apart_meet_in_one_channel_of_a_plain_interleave():
    loads = channel_loads(100, 128, 128 * 256, HBM)
    assert loads == (100 * 128,) + (0,) * 127
    assert overload(loads) == 128


def test_rows_half_a_period_apart_meet_in_two():
    loads = channel_loads(10, 256, 64 * 256, HBM, start=3 * 256)
    assert {channel: load for channel, load in enumerate(loads) if load} == {3: 5 * 256, 67: 5 * 256}


def test_a_piece_is_split_where_the_channel_changes():
    assert channel_loads(1, 300, 0, plain(4, 256), start=200) == (56, 244, 0, 0)
    assert channel_loads(1, 600, 0, plain(2, 256)) == (256 + 88, 256)


def test_folding_takes_the_exclusive_or_of_the_higher_bits():
    # Two bits of channel from bit 8: bits 8 and 9, with 10 and 11, 12 and 13 and so on folded in.
    interleave = folded(4, 256)
    assert [interleave.channel(block << 8) for block in (0b00_01, 0b01_00, 0b01_01, 0b11_01, 0b10_00_00)] == [1, 1, 0, 2, 2]


@pytest.mark.parametrize("bit", range(8, 48))
def test_the_hash_of_mi300_depends_on_each_bit_above_the_block(bit):
    assert MI300_HBM.channel(1 << bit) != MI300_HBM.channel(0)


def test_the_hash_of_mi300_leaves_blocks_of_256_bytes_whole_and_fills_128_channels_of_32_kib():
    assert (MI300_HBM.num_channels, MI300_HBM.granularity_bytes) == (128, 256)
    assert {MI300_HBM.channel(address) for address in range(256)} == {0}
    for start in (0, 2**15, 5 * 2**15, 2**30 + 2**15):
        assert {MI300_HBM.channel(start + block * 256) for block in range(128)} == set(range(128))


@pytest.mark.parametrize(
    ("columns", "bytes_per_element", "pitch"),
    [
        (4096, 2, 4224),
        (14336, 2, 14464),
        (256, 2, 384),
        (4096, 1, 4352),
        (128, 2, 128),
        (4097, 2, 4097),
        (384, 2, 384),
        (128, 4, 192),
    ],
)
def test_padding_as_amd_advises(columns, bytes_per_element, pitch):
    assert padded_pitch(columns, bytes_per_element) == pitch


def test_a_padded_pitch_is_never_the_hazard_and_holds_the_row():
    for columns, size in itertools.product(range(1, 3000), (1, 2, 4, 8)):
        pitch = padded_pitch(columns, size)
        assert columns <= pitch <= columns + 256 // size
        assert pitch * size % 512


@pytest.mark.parametrize("columns", [1024, 4096, 14336, 128256])
def test_a_walk_at_the_padded_pitch_is_even_under_a_plain_interleave(columns):
    pitch = padded_pitch(columns, 2) * 2
    for interleave in (L2, HBM):
        assert overload(channel_loads(128, 128, columns * 2, interleave)) >= 2
        assert overload(channel_loads(128, 128, pitch, interleave)) == 1


@pytest.mark.parametrize(("columns", "size"), [(0, 2), (8, 3)])
def test_a_pitch_of_nothing_is_refused(columns, size):
    with pytest.raises(AriaError, match=f"pitch of {columns} columns of {size} bytes"):
        padded_pitch(columns, size)


@pytest.mark.parametrize(("channels", "granularity"), [(24, 256), (128, 100), (0, 256)])
def test_channels_are_powers_of_two(channels, granularity):
    with pytest.raises(AriaError, match="powers of two"):
        plain(channels, granularity)
