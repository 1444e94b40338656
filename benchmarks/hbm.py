"""How the rows of a matrix spread over memory channels, and the row pitch that keeps a tile's walk from meeting in a few.

An MI300X has 128 channels of HBM, 16 for each of 8 stacks of 24 GB. "24-channel striping" takes that capacity for a number of
channels. Nor can software deal out channels: the hardware takes the channel from bits of the physical address, in blocks of 256
bytes, the same for every matrix. What software chooses is where rows begin. A tile reads a short piece of each of many rows; if
their distance, the pitch, fits the distance at which channels repeat, all pieces meet in a few of them. AMD warns of pitches
that are multiples of 512 bytes ("Tagram channel hotspotting"; workload tuning, "GEMM stride issues"), as the sizes of a Llama
all are. `padded_pitch` follows that advice.

Whose channels? How HBM's are chosen is public, in Linux (drivers/ras/amd/atl/dehash.c; the hashes in use in amdgpu's
umc_v12_0.h): `MI300_HBM`. That hash spreads the rows of a Llama without padding, so padding is not for HBM. How the 16 channels
of a die's L2 are chosen is not published; AMD's advice fits a plain interleave in blocks of 256 bytes, `plain(16, 256)`, and
there padding turns the worst case into the best. Which of them a GPU shows is unmeasured.

Padding is computed here and applied to no matrix: the channels that it would serve are a guess until they are measured, and
weights with another pitch would have to be copied when they are loaded, and kept so by everything that takes them.

Addresses here are physical. A pitch keeps its meaning within a page of memory, 2 MiB where the driver finds such.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aria_ray.errors import AriaError

HAZARD_BYTES, PAD_BYTES = 512, 256
ADDRESS_BITS = 48


@dataclass(frozen=True)
class Interleave:
    """Bit i of an address's channel is the parity of the address's bits in `masks[i]`: any hash of exclusive ors."""

    name: str
    masks: tuple[int, ...]

    @property
    def num_channels(self) -> int:
        """Two to the number of masks."""
        return 1 << len(self.masks)

    @property
    def granularity_bytes(self) -> int:
        """Aligned runs of so many bytes lie in one channel."""
        lowest = [mask & -mask for mask in self.masks]
        return min(lowest)

    def channel(self, address: int) -> int:
        """The channel of a byte address."""
        return sum(((address & mask).bit_count() & 1) << bit for bit, mask in enumerate(self.masks))


def plain(num_channels: int, granularity_bytes: int) -> Interleave:
    """Channel = address / granularity modulo the channels; both powers of two.

    Raises:
        AriaError: one of them is not.
    """
    masks = tuple(1 << bit for bit in _bits(num_channels, granularity_bytes))
    return Interleave(f"plain, {num_channels} channels of {granularity_bytes} B", masks)


def folded(num_channels: int, granularity_bytes: int) -> Interleave:
    """As `plain`, with all higher bits of the address folded in, as many at a time as a channel has: a textbook hash.

    Raises:
        AriaError: not powers of two.
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
"""Bits of the physical address by bit of the channel, with one memory partition (NPS1). The hash by 4 KiB is off in amdgpu."""


def channel_loads(rows: int, row_bytes: int, pitch_bytes: int, interleave: Interleave, start: int = 0) -> tuple[int, ...]:
    """Bytes that each channel serves for a walk down `rows` rows, `row_bytes` of each, from address `start`."""
    loads = [0] * interleave.num_channels
    step = interleave.granularity_bytes
    for row in range(rows):
        first = start + row * pitch_bytes
        last = first + row_bytes
        for block in range(first - first % step, last, step):
            loads[interleave.channel(block)] += min(block + step, last) - max(block, first)
    return tuple(loads)


def overload(loads: Sequence[int]) -> float:
    """Load of the fullest channel over the mean of all: 1 is even, the number of channels is everything in one.

    If nothing else runs, the channels take that many times as long as they would together.
    """
    return max(loads) * len(loads) / sum(loads)


def padded_pitch(columns: int, bytes_per_element: int) -> int:
    """Elements from one row to the next for rows of `columns`, so that rows do not begin 512 bytes apart or a multiple.

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
    """The bits of an address that number blocks of that size, as many as number the channels."""
    if num_channels.bit_count() != 1 or granularity_bytes.bit_count() != 1:
        raise AriaError(f"{num_channels} channels of {granularity_bytes} bytes: both must be powers of two")
    first = granularity_bytes.bit_length() - 1
    return range(first, first + num_channels.bit_length() - 1)
