"""Measured peaks of this machine's processor: no vendor publishes them for a given number of cores.

`python -m aria_ray.machine.peaks THREADS` prints them as JSON. `measure_peaks` runs that as a
process, so that the number of threads stays as it is in the caller. Measure while the machine is idle.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from aria_ray.errors import AriaError

GEMM_SIZES = ((768, 576, 1536), (768, 1536, 576), (2048, 2048, 2048))
"""Rows, inner size and columns of the products: the largest ones in a small Llama's step of 768 tokens, and a larger one."""
GEMM_REPEATS = 20
COPY_BYTES = 256 * 2**20
"""Size of the copy, far larger than any cache."""
COPY_REPEATS = 8
TIMEOUT_S = 120


@dataclass(frozen=True)
class Peaks:
    """The best of several measurements in float32, with that many threads."""

    threads: int
    gemm_flops_per_s: float
    """Peak of matrix products. A multiplication and an addition are two operations."""
    copy_bytes_per_s: float
    """Bytes read plus bytes written by a copy from memory to memory, as STREAM counts them."""


def measure_peaks(threads: int) -> Peaks:
    """Measure the peaks in a separate process, which takes seconds.

    Raises:
        AriaError: the process failed, or took longer than `TIMEOUT_S`.
    """
    command = [sys.executable, "-m", "aria_ray.machine.peaks", str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"not done after {TIMEOUT_S} s"
    else:
        return Peaks(**json.loads(done.stdout.splitlines()[-1]))
    raise AriaError(
        f"this machine's peaks could not be measured ({reason})", f"`python -m aria_ray.machine.peaks {threads}` shows why"
    )


def gemm_flops_per_s(threads: int) -> float:
    """The most float32 operations per second that matrix products reach in this process."""
    import torch  # takes seconds to import, so only for a measurement

    torch.set_num_threads(threads)
    best = 0.0
    for rows, inner, columns in GEMM_SIZES:
        left, right = torch.rand(rows, inner), torch.rand(inner, columns)
        product = torch.mm(left, right)
        for _ in range(GEMM_REPEATS):
            start = time.perf_counter()
            torch.mm(left, right, out=product)
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


def copy_bytes_per_s(threads: int) -> float:
    """The most bytes per second, read plus written, that a copy reaches in this process."""
    import torch

    torch.set_num_threads(threads)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(COPY_REPEATS):
        start = time.perf_counter()
        target.copy_(source)
        best = max(best, 2 * COPY_BYTES / (time.perf_counter() - start))
    return best


def main() -> None:
    """Measure with the number of threads in the first argument, and print the result as JSON."""
    threads = int(sys.argv[1])
    peaks = Peaks(threads, gemm_flops_per_s(threads), copy_bytes_per_s(threads))
    sys.stdout.write(json.dumps(asdict(peaks)) + "\n")


if __name__ == "__main__":
    main()
