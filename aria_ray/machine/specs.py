"""Specifications of accelerators as their vendors publish them, each figure with its source; and this machine's processor.

AMD's compute unit (CU) is NVIDIA's streaming multiprocessor, a wavefront is a warp, LDS is shared memory. Peaks are those of
dense matrix products; NVIDIA's data sheets print twice as much, for 2:4 sparse ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from aria_ray.errors import AriaError
from aria_ray.machine.peaks import Peaks

KIB, MIB = 2**10, 2**20

AMD_GPU_SPECS = "AMD, GPU specifications (rocm.docs.amd.com, reference/gpu-specs)"
AMD_MI300_ARCHITECTURE = "AMD, MI300 microarchitecture (ROCm documentation, gpu-arch/mi300)"
AMD_INSTRUCTIONS = "AMD matrix instruction calculator, architecture cdna3"
AMD_WORKLOAD = "AMD, workload tuning (ROCm documentation, inference-optimization/workload)"
HOPPER_SM = "3eyedtech.com/gpgpu, NVIDIA H100 SXM5"
HOPPER_NOTES = "glennklockwood.com/garden/processors/h100, after NVIDIA's H100 white paper"
NOT_FOUND, NOT_THERE = "no source found", "no such part"


@dataclass(frozen=True)
class Accelerator:
    """One device. A figure is None where the device has no such part or no source was found; `sources` says which."""

    name: str
    kind: Literal["gpu", "cpu"]
    target: str | None
    """Name of the architecture for compilers: gfx942, sm_90."""
    compute_units: int
    stream_processors: int | None
    xcds: int | None
    """Compute dies, each with an L2 cache of its own."""
    wavefront: int | None
    """Threads that execute one instruction together."""
    lds_bytes_per_cu: int | None
    simds_per_cu: int | None
    vgprs_per_simd_lane: int | None
    """32-bit registers of a lane of a SIMD unit, shared by the wavefronts that it holds."""
    memory_gb: float
    """Memory as the vendor prints it, in GB."""
    memory_bytes_per_s: float
    memory_channels: int | None
    memory_bus_bits: int | None
    memory_transfers_per_s: float | None
    """Transfers per second on each data line of the bus."""
    l2_bytes: int | None
    infinity_cache_bytes: int | None
    clock_hz: float | None
    """Clock that the matrix peaks are stated for."""
    flops_per_clock_per_cu: Mapping[str, int]
    """Operations of matrix instructions, by type of the factors."""
    peak_flops_per_s: Mapping[str, float]
    """Peaks of dense matrix products, by type of the factors: bf16, fp16, fp8, tf32, fp32, fp64."""
    tdp_w: float | None
    sources: Mapping[str, str]
    """Source of each figure, by field name."""

    @property
    def memory_bytes(self) -> float:
        """Memory in bytes. A vendor's GB is taken as 10^9 bytes, the smaller reading: drivers show up to 7 % more."""
        return self.memory_gb * 1e9


MI300X = Accelerator(
    name="MI300X",
    kind="gpu",
    target="gfx942",
    compute_units=304,
    stream_processors=19_456,
    xcds=8,
    wavefront=64,
    lds_bytes_per_cu=64 * KIB,
    simds_per_cu=4,
    vgprs_per_simd_lane=512,
    memory_gb=192,
    memory_bytes_per_s=5.3e12,
    memory_channels=128,
    memory_bus_bits=8192,
    memory_transfers_per_s=5.2e9,
    l2_bytes=32 * MIB,
    infinity_cache_bytes=256 * MIB,
    clock_hz=2.1e9,
    flops_per_clock_per_cu={"bf16": 2048, "fp16": 2048, "fp8": 4096, "tf32": 1024, "fp32": 256, "fp64": 256},
    peak_flops_per_s={
        "bf16": 1307.4e12,
        "fp16": 1307.4e12,
        "fp8": 2614.9e12,
        "tf32": 653.7e12,
        "fp32": 163.4e12,
        "fp64": 163.4e12,
    },
    tdp_w=750,
    sources={
        "target": AMD_GPU_SPECS,
        "compute_units": f"{AMD_GPU_SPECS}: 38 on each of 8 dies (40 are there)",
        "stream_processors": "304 compute units of 64",
        "xcds": AMD_MI300_ARCHITECTURE,
        "wavefront": AMD_GPU_SPECS,
        "lds_bytes_per_cu": AMD_GPU_SPECS,
        "simds_per_cu": "from the register file: 512 KiB over 512 registers of 4 bytes in each of 64 lanes",
        "vgprs_per_simd_lane": f"{AMD_WORKLOAD}; {AMD_GPU_SPECS}: 512 KiB in a compute unit",
        "memory_gb": f"{AMD_MI300_ARCHITECTURE}: 8 stacks of 24 GB of HBM3",
        "memory_bytes_per_s": AMD_MI300_ARCHITECTURE,
        "memory_channels": "8 stacks of 16 channels of 64 bits; Linux amdgpu, umc_v12_0.h: 4 dies x 4 units x 8 channels",
        "memory_bus_bits": "128 channels of 64 bits",
        "memory_transfers_per_s": "AMD, LLM inference blog (rocm-blogs): 5.325 TB/s over 1,024 bytes",
        "l2_bytes": f"{AMD_GPU_SPECS}: 4 MiB on each die",
        "infinity_cache_bytes": AMD_GPU_SPECS,
        "clock_hz": AMD_MI300_ARCHITECTURE,
        "flops_per_clock_per_cu": f"{AMD_MI300_ARCHITECTURE}; {AMD_INSTRUCTIONS}",
        "peak_flops_per_s": f"{AMD_MI300_ARCHITECTURE}; fp32 and fp64 of the matrix units",
        "tdp_w": "AMD, LLM inference blog (rocm-blogs)",
    },
)

# The MI325X has the compute dies of the MI300X with other memory.
MI325X = replace(
    MI300X,
    name="MI325X",
    memory_gb=256,
    memory_bytes_per_s=6.0e12,
    memory_transfers_per_s=None,
    tdp_w=1000,
    sources={
        **MI300X.sources,
        "stream_processors": "304 compute units of 64",
        "memory_gb": f"{AMD_GPU_SPECS}; 256 GB of HBM3E",
        "memory_bytes_per_s": "Vultr, inference cookbook, hardware requirements, after AMD's product page",
        "memory_channels": "as MI300X: the same dies, 8 stacks",
        "memory_bus_bits": "as MI300X: the same dies, 8 stacks",
        "memory_transfers_per_s": NOT_FOUND,
        "clock_hz": "as MI300X, from equal peaks of equal compute units",
        "peak_flops_per_s": "tensorwave.com, MI325X vs MI300X: AMD gives both the same; awesomeagents.ai/hardware/amd-mi325x",
        "tdp_w": "yobitel.com/knowledge-base/amd-mi325x: about 1,000",
    },
)

H100 = Accelerator(
    name="H100",
    kind="gpu",
    target="sm_90",
    compute_units=132,
    stream_processors=16_896,
    xcds=None,
    wavefront=32,
    lds_bytes_per_cu=228 * KIB,
    simds_per_cu=4,
    vgprs_per_simd_lane=512,
    memory_gb=80,
    memory_bytes_per_s=3.35e12,
    memory_channels=None,
    memory_bus_bits=5120,
    memory_transfers_per_s=5.238e9,
    l2_bytes=50 * MIB,
    infinity_cache_bytes=None,
    clock_hz=1.83e9,
    flops_per_clock_per_cu={"bf16": 4096, "fp16": 4096, "fp8": 8192, "tf32": 2048},
    peak_flops_per_s={
        "bf16": 989.4e12,
        "fp16": 989.4e12,
        "fp8": 1978.9e12,
        "tf32": 494.7e12,
        "fp32": 66.9e12,
        "fp64": 66.9e12,
    },
    tdp_w=700,
    sources={
        "target": "NVIDIA/cutlass documentation, Hopper: compute capability 9.0",
        "compute_units": HOPPER_NOTES,
        "stream_processors": f"{HOPPER_NOTES}: 128 in each multiprocessor",
        "xcds": NOT_THERE,
        "wavefront": f"{HOPPER_SM}: a warp",
        "lds_bytes_per_cu": f"{HOPPER_SM}: shared memory of a multiprocessor",
        "simds_per_cu": f"{HOPPER_SM}: four schedulers, each with a tensor core",
        "vgprs_per_simd_lane": "vineethac.blogspot.com, H100 SXM5: 256 KB in a multiprocessor, over 4 quarters of 32 lanes",
        "memory_gb": f"{HOPPER_NOTES}: 5 stacks of HBM3 (SXM5)",
        "memory_bytes_per_s": HOPPER_NOTES,
        "memory_channels": NOT_FOUND,
        "memory_bus_bits": f"{HOPPER_NOTES}: ten controllers of 512 bits",
        "memory_transfers_per_s": "github.com/accel-sim/accel-sim-framework/discussions/562: 2,619 MHz, twice a clock",
        "l2_bytes": f"{HOPPER_SM}; vineethac.blogspot.com, H100 SXM5",
        "infinity_cache_bytes": NOT_THERE,
        "clock_hz": f"{HOPPER_NOTES}: of the tensor cores at fp8 to tf32; fp32 and fp64 are given at 1.98 GHz",
        "flops_per_clock_per_cu": f"from peaks, multiprocessors and clock of {HOPPER_NOTES}",
        "peak_flops_per_s": f"{HOPPER_NOTES}; fp32 of the vector units",
        "tdp_w": HOPPER_NOTES,
    },
)

# The H200 has the chip of the H100 with other memory.
H200 = replace(
    H100,
    name="H200",
    memory_gb=141,
    memory_bytes_per_s=4.8e12,
    memory_bus_bits=6144,
    memory_transfers_per_s=6.2e9,
    sources={
        **H100.sources,
        "memory_gb": "itkb.uw.cz, H200 against B300, after NVIDIA's data sheet: HBM3e",
        "memory_bytes_per_s": "itkb.uw.cz, H200 against B300, after NVIDIA's data sheet",
        "memory_bus_bits": "geektopia.es, 2023-11-13: six controllers of 1,024 bits",
        "memory_transfers_per_s": "geektopia.es, 2023-11-13: 6.2 Gb/s",
        "peak_flops_per_s": f"{HOPPER_NOTES}: as H100; itkb.uw.cz has 989 and 1,979 dense; fp32 of the vector units",
        "tdp_w": "itkb.uw.cz, H200 against B300, after NVIDIA's data sheet",
    },
)

ACCELERATORS: Mapping[str, Accelerator] = {each.name.lower(): each for each in (MI300X, MI325X, H100, H200)}


def accelerator(name: str) -> Accelerator:
    """The accelerator with a name, in upper or lower case.

    Raises:
        AriaError: no accelerator has that name.
    """
    try:
        return ACCELERATORS[name.lower()]
    except KeyError:
        raise AriaError(
            f"hardware '{name}' must be one of {', '.join(ACCELERATORS)}, or cpu for this machine", "give one of those"
        ) from None


def measured_cpu(peaks: Peaks, *, num_workers: int = 1) -> Accelerator:
    """This machine's processor with its measured peaks, and one of `num_workers` equal parts of its memory."""
    measured = f"measured on this machine with {peaks.threads} threads (aria_ray.machine.peaks)"
    unknown = dict.fromkeys(Accelerator.__dataclass_fields__, "not measured")
    return Accelerator(
        name="CPU",
        kind="cpu",
        target=None,
        compute_units=peaks.threads,
        stream_processors=None,
        xcds=None,
        wavefront=None,
        lds_bytes_per_cu=None,
        simds_per_cu=None,
        vgprs_per_simd_lane=None,
        memory_gb=psutil.virtual_memory().total / 1e9 / num_workers,
        memory_bytes_per_s=peaks.copy_bytes_per_s,
        memory_channels=None,
        memory_bus_bits=None,
        memory_transfers_per_s=None,
        l2_bytes=None,
        infinity_cache_bytes=None,
        clock_hz=None,
        flops_per_clock_per_cu={},
        peak_flops_per_s={"fp32": peaks.gemm_flops_per_s},
        tdp_w=None,
        sources={
            **unknown,
            "compute_units": "threads of the measurement",
            "memory_gb": "the operating system" + (f", by {num_workers} workers" if num_workers > 1 else ""),
            "memory_bytes_per_s": f"{measured}: a copy, bytes read and written",
            "peak_flops_per_s": f"{measured}: torch.mm",
        },
    )
