"""Around the kernel, without a device to launch it on: what is refused, what is not launched, which tiles are asked for.

What it computes is in `product_cases.py`.
"""

import pytest
import torch

from aria_ray.errors import TrainingError
from aria_ray.kernels import launch
from aria_ray.kernels.blocks import blocks_for
from aria_ray.kernels.launch import SAME_BLOCKS_ROWS, TYPES, can_launch, low_rank_gemm
from aria_ray.machine.specs import MI300X


def test_a_processor_without_the_interpreter_runs_no_kernel():
    assert not any(can_launch(torch.empty(1, dtype=dtype)) for dtype in (*TYPES, torch.float64))


def test_an_empty_result_needs_no_launch():
    assert low_rank_gemm(torch.empty(0, 4), torch.empty(4, 6), torch.empty(0, 2), torch.empty(2, 6), 1.0).shape == (0, 6)


@pytest.mark.parametrize("tokens", [2**31 // 4096 + 1, 2**31 // 14336 + 1])
def test_a_pack_that_offsets_do_not_reach_is_refused_with_the_way_out(tokens):
    left, right = torch.empty(tokens, 4096, device="meta"), torch.empty(4096, 14336, device="meta")
    with pytest.raises(TrainingError, match=rf"a matrix of {tokens} x .* elements.*lower training\.max_tokens"):
        low_rank_gemm(left, right, left[:, :8], right[:8], 1.0)


def test_packs_of_about_one_length_take_the_same_blocks(monkeypatch):
    """So that a new length does not compile a new kernel: the sizes that tiles are chosen for are the next multiple."""
    asked = []
    monkeypatch.setattr(launch, "low_rank_gemm_kernel", FakeKernel())
    monkeypatch.setattr(launch, "_blocks", lambda *sizes: asked.append(sizes) or blocks_for(*sizes[:4], MI300X))
    for tokens in (1, SAME_BLOCKS_ROWS, SAME_BLOCKS_ROWS + 1):
        left, right = torch.empty(tokens, 64, dtype=torch.bfloat16), torch.empty(64, 128, dtype=torch.bfloat16)
        low_rank_gemm(left, right, left[:, :8], right[:8], 1.0)
    rows, *rest = zip(*asked, strict=True)
    assert rows == (SAME_BLOCKS_ROWS, SAME_BLOCKS_ROWS, 2 * SAME_BLOCKS_ROWS)
    assert [set(each) for each in rest] == [{128}, {64}, {"bf16"}, {torch.device("cpu")}]


class FakeKernel:
    """Computes nothing: a processor cannot run the kernel."""

    def __getitem__(self, _grid):
        return lambda *_arguments, **_options: None
