"""Spread of a matrix's rows over memory channels, and the row pitch that avoids conflicts when a tile is read.

An MI300X has 128 channels of HBM, 16 for each of 8 stacks of 24 GB. ("24-channel striping" takes that capacity for a number of
channels.) Software cannot assign channels: the hardware takes the channel from bits of the physical address, in blocks of 256
bytes, in the same way for every matrix. Software chooses where rows begin. A tile reads a short piece of each of many rows;
where the distance of rows, the pitch, is a multiple of the distance at which channels repeat, all pieces are in a few channels.
AMD warns of pitches that are multiples of 512 bytes ("Tagram channel hotspotting"; workload tuning, "GEMM stride issues"), as
all sizes of a Llama are. `padded_pitch` follows that advice.

The hash of HBM's channels is public, in Linux (drivers/ras/amd/atl/dehash.c; the hashes in use in amdgpu's umc_v12_0.h):
`MI300_HBM`. It spreads the rows of a Llama without padding, so padding is not for HBM. The choice of the 16 channels of an
XCD's L2 is not published. AMD's advice fits a plain interleave in blocks of 256 bytes, `plain(16, 256)`, for which padding
turns the worst case into the best. It is not known, and was not measured, which of them a GPU has.

No code applies the padding: the channels that it would serve are a guess until they are measured, and weights with another
pitch would have to be copied when they are loaded, and kept so by everything that takes them.

Addresses are physical. A pitch keeps its meaning within a page of memory, 2 MiB where the driver finds such pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aria_ray.errors import AriaError

HAZARD_BYTES, PAD_BYTES = 512, 256
ADDRESS_BITS = 48


@dataclass(frozen=True)
class Interleave:
    """Channel of an address as a hash of exclusive ors: its bit i is the parity of the address's bits in `masks[i]`."""

    name: str
    masks: tuple[int, ...]

    @property
    def num_channels(self) -> int:
        """Number of channels: two to the number of masks."""
        return 1 << len(self.masks)

    @property
    def granularity_bytes(self) -> int:
        """Length of the aligned runs of bytes that lie in one channel."""
        lowest = [mask & -mask for mask in self.masks]
        return min(lowest)

    def channel(self, address: int) -> int:
        """Channel of a byte address."""
        return sum(((address & mask).bit_count() & 1) << bit for bit, mask in enumerate(self.masks))


def plain(num_channels: int, granularity_bytes: int) -> Interleave:
    """Channel = address / granularity modulo the number of channels; both are powers of two.

    Raises:
        AriaError: one of them is not a power of two.
    """
    masks = tuple(1 << bit for bit in _bits(num_channels, granularity_bytes))
    return Interleave(f"plain, {num_channels} channels of {granularity_bytes} B", masks)


def folded(num_channels: int, granularity_bytes: int) -> Interleave:
    """The textbook hash: `plain`, with all higher bits of the address folded in, as many at a time as a channel number has.

    Raises:
        AriaError: the number of channels or the granularity is not a power of two.
    """
    bits = _bits(num_channels, granularity_bytes)
    masks = tuple(sum(1 << each for each in range(bit, ADDRESS_BITS, len(bits))) for bit in bits)
    return Interleave(f"folded, {num_channels} channels of {granularity_bytes} B", masks)


MI300_HBM = Interleave(
    "MI300 in Linux, 128 channels of 256 B",
    tuple(
        sum(1 << bit for bit in bits)
        for bits in (
            (8, 15, 22, 29, 36, 43),  # four bits within a stack
            (9, 16, 23, 30, 37, 44),
            (10, 17, 24, 31, 38, 45),
            (11, 18, 25, 32, 39, 46),
            (14, 19, 26, 33, 40, 47),  # the stack of two
            (12, 20, 27, 34, 41),  # the die of four
            (13, 21, 28, 35, 42),
        )
    ),
)
"""Hash of MI300's HBM channels with one memory partition (NPS1): the bits of the physical address for each bit of the channel.
The hash by 4 KiB is off in amdgpu."""


def channel_loads(rows: int, row_bytes: int, pitch_bytes: int, interleave: Interleave, start: int = 0) -> tuple[int, ...]:
    """Bytes that each channel serves when `row_bytes` of each of `rows` rows are read, from address `start`."""
    loads = [0] * interleave.num_channels
    step = interleave.granularity_bytes
    for row in range(rows):
        first = start + row * pitch_bytes
        last = first + row_bytes
        for block in range(first - first % step, last, step):
            loads[interleave.channel(block)] += min(block + step, last) - max(block, first)
    return tuple(loads)


def overload(loads: Sequence[int]) -> float:
    """Load of the fullest channel over the mean of all: 1 is even, the number of channels is all in one.

    Where nothing else limits it, reading takes that many times as long as with an even load.
    """
    return max(loads) * len(loads) / sum(loads)


def padded_pitch(columns: int, bytes_per_element: int) -> int:
    """Elements from one row to the next for rows of `columns`, so that rows do not begin a multiple of 512 bytes apart.

    A pitch that is such a multiple gets 256 bytes more (AMD: lda = K + 128 in 16 bits when K % 256 == 0), and is then an odd
    number of blocks of 256 bytes, which visits all channels of a plain interleave before it meets the first again. Any other
    pitch stays. Rows keep their alignment up to 256 bytes.

    Raises:
        AriaError: no columns, or elements whose size is not 1, 2, 4 or 8 bytes.
    """
    if columns < 1 or bytes_per_element not in (1, 2, 4, 8):
        raise AriaError(f"pitch of {columns} columns of {bytes_per_element} bytes: 1 or more, of 1, 2, 4 or 8 bytes")
    return columns if columns * bytes_per_element % HAZARD_BYTES else columns + PAD_BYTES // bytes_per_element


def _bits(num_channels: int, granularity_bytes: int) -> range:
    """Bits of an address that number the channels, from the lowest bit above the granularity."""
    if num_channels.bit_count() != 1 or granularity_bytes.bit_count() != 1:
        raise AriaError(f"{num_channels} channels of {granularity_bytes} bytes: both must be powers of two")
    first = granularity_bytes.bit_length() - 1
    return range(first, first + num_channels.bit_length() - 1)
