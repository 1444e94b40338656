"""The kernel against float64.

On a GPU, or on a processor in Triton's interpreter, which must be chosen before Triton is imported. Not collected by itself:
`test_gemm.py` runs it with TRITON_INTERPRET=1, `tests/gpu/test_kernels.py` without.

M, N, K, R as in `kernels.gemm`
"""

import pytest
import torch
import triton
import triton.language as tl
from tile_order import remap_xcd

from aria_ray.errors import TrainingError
from aria_ray.kernels.gemm import tile_of_program
from aria_ray.kernels.gfx942.workgroups import grouped_tile
from aria_ray.kernels.launch import can_launch, low_rank_gemm
from aria_ray.kernels.lora import LoraLinear

pytestmark = pytest.mark.triton

DEVICE = "cpu" if triton.knobs.runtime.interpret else "cuda"
# Rounding of one result and of the scaled thin factor; twice that where the interpreter cuts bf16 off instead of rounding.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def some(*shape, dtype):
    return torch.randn(*shape, device=DEVICE).to(dtype)


def guarded(rows, columns, dtype):
    """Random values with what is no number all around: whatever is read beside them shows."""
    around = torch.full((rows + 64, columns + 64), torch.nan, dtype=dtype, device=DEVICE)
    around[:rows, :columns] = some(rows, columns, dtype=dtype)
    return around[:rows, :columns]


def error(result, expected):
    return ((result.double() - expected).norm() / expected.norm()).item()


def test_these_tests_run_the_kernel():
    assert can_launch(torch.empty(1, dtype=torch.bfloat16, device=DEVICE))
    assert not can_launch(torch.empty(1, dtype=torch.float64, device=DEVICE))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("m", "n", "k", "rank", "scale"),
    [
        (128, 128, 128, 16, 2.0),  # nothing ragged
        (130, 70, 90, 8, 0.3),  # all ragged
        (1, 5, 3, 64, -1.5),  # less than a tile
        (257, 129, 65, 64, 0.25),  # one over
        (40, 272, 33, 100, 1.0),  # a rank that is no power of two, over the steps it is taken in
    ],
)
def test_the_product_against_float64(m, n, k, rank, scale, dtype):
    left, right = guarded(m, k, dtype), guarded(n, k, dtype).T
    thin, factor = some(m, rank, dtype=dtype), guarded(n, rank, dtype).T
    expected = left.double() @ right.double() + scale * thin.double() @ factor.double()
    assert error(low_rank_gemm(left, right, thin, factor, scale), expected) < TOLERANCE[dtype]


def test_any_strides():
    """Rows and columns in either order, every second of them, and one row for all, as the gradient of a sum has it."""
    thin, factor = some(16, 60, dtype=torch.float32).T, some(44, 16, dtype=torch.float32).T[:, ::2]
    for left in (
        some(50, 60, dtype=torch.float32).T,
        some(60, 100, dtype=torch.float32)[:, ::2],
        torch.ones(50).expand(60, 50),
    ):
        left = left.to(DEVICE)
        for right in (some(50, 22, dtype=torch.float32), some(44, 50, dtype=torch.float32).T[:, ::2]):
            expected = left.double() @ right.double() + 0.5 * thin.double() @ factor.double()
            assert error(low_rank_gemm(left, right, thin, factor, 0.5), expected) < 1e-6


@pytest.mark.parametrize(("m", "n", "k"), [(0, 8, 8), (8, 0, 8), (8, 8, 0)])
def test_empty_matrices(m, n, k):
    left, right = some(m, k, dtype=torch.float32), some(k, n, dtype=torch.float32)
    thin, factor = some(m, 16, dtype=torch.float32), some(16, n, dtype=torch.float32)
    result = low_rank_gemm(left, right, thin, factor, 2.0)
    assert result.shape == (m, n)
    torch.testing.assert_close(result, 2.0 * thin @ factor)


def test_what_offsets_do_not_reach_is_refused():
    left, right = torch.empty(2, 16, device="meta"), torch.empty(16, 2**30 + 1, device="meta")
    with pytest.raises(TrainingError, match="a matrix of 16 x 1073741825 reaches over 17179869200 elements"):
        low_rank_gemm(left, right, left[:, :8], right[:8], 1.0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rank", [8, 64])
def test_the_layer_and_its_gradients_against_float64(rank, dtype):
    """A and B in float32 beside a coarser W, as PEFT keeps them; two leading dimensions, not contiguous."""
    tokens, inputs, outputs, scale = 75, 130, 40, 0.7
    x = some(tokens, 2, inputs, dtype=dtype).transpose(0, 1)
    weight, grad = some(outputs, inputs, dtype=dtype), some(2, tokens, outputs, dtype=dtype)
    a, b = some(rank, inputs, dtype=torch.float32), some(outputs, rank, dtype=torch.float32)
    ours = [value.clone().requires_grad_() for value in (x, a, b)]
    theirs = [value.double().requires_grad_() for value in (x, a, b)]
    result = LoraLinear.apply(ours[0], weight, ours[1], ours[2], scale)
    expected = theirs[0] @ weight.double().T + scale * theirs[0] @ theirs[1].T @ theirs[2].T
    result.backward(grad)
    expected.backward(grad.double())
    assert result.dtype == dtype
    assert error(result, expected) < 2 * TOLERANCE[dtype]  # A, B and x A^T are rounded as well
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == mine.dtype
        assert error(mine.grad, other.grad) < 2 * TOLERANCE[dtype]


def test_no_gradient_of_x_where_nobody_asks():
    x, weight = some(6, 4, dtype=torch.float32), some(5, 4, dtype=torch.float32)
    a, b = (some(*shape, dtype=torch.float32).requires_grad_() for shape in ((8, 4), (5, 8)))
    LoraLinear.apply(x, weight, a, b, 1.0).sum().backward()
    assert x.grad is None
    torch.testing.assert_close(b.grad, (x @ a.T).sum(dim=0).expand(5, 8))


@triton.jit
def write_tiles(out, tiles_m, tiles_n, GROUP_M: tl.constexpr, NUM_XCDS: tl.constexpr):
    program = tl.program_id(0)
    row, column = tile_of_program(program, tiles_m, tiles_n, GROUP_M, NUM_XCDS)
    tl.store(out + 2 * program, row)
    tl.store(out + 2 * program + 1, column)


@pytest.mark.parametrize("xcds", [1, 6, 8])
@pytest.mark.parametrize(("tiles_m", "tiles_n", "group_m"), [(7, 5, 4), (1, 3, 8), (16, 8, 8), (9, 1, 2)])
def test_the_order_of_tiles_is_that_of_the_schedule(tiles_m, tiles_n, group_m, xcds):
    number = tiles_m * tiles_n
    out = torch.full((number, 2), -1, dtype=torch.int32, device=DEVICE)
    write_tiles[(number,)](out, tiles_m, tiles_n, GROUP_M=group_m, NUM_XCDS=xcds)
    wanted = [grouped_tile(remap_xcd(each, number, xcds), tiles_m, tiles_n, group_m) for each in range(number)]
    assert [tuple(tile) for tile in out.tolist()] == wanted
    assert len(set(wanted)) == number
