"""The LoRA kernel on a GPU: the cases of the interpreter's tests, the products of Llama-3.1-8B, and its speed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_process import case_names, check

from aria_ray.kernels.lora import LoraLinear

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
CASES = [
    pytest.param(path, function, id=function)
    for path in (UNIT / "kernels" / "product_cases.py", UNIT / "training" / "lora_cases.py")
    for function in case_names(path)
]


@pytest.mark.parametrize(("path", "function"), CASES)
def test_the_cases_of_the_interpreter(path, function):
    check(path, function, TRITON_INTERPRET=None)


@pytest.mark.parametrize("tokens", [2048, 1999])
@pytest.mark.parametrize(("inputs", "outputs"), [(4096, 4096), (4096, 1024), (4096, 14336), (14336, 4096)])
def test_the_layers_of_llama_8b(inputs, outputs, tokens):
    """Against float64 from the same bfloat16 values."""
    generator = torch.Generator("cuda").manual_seed(0)

    def some(*shape):
        return torch.randn(*shape, device="cuda", generator=generator).bfloat16()

    x, weight, a, b = some(tokens, inputs), some(outputs, inputs), some(16, inputs), some(outputs, 16)
    ours, theirs = ([value.to(dtype, copy=True).requires_grad_() for value in (x, a, b)] for dtype in (x.dtype, torch.float64))
    grad = some(tokens, outputs)
    result = LoraLinear.apply(ours[0], weight, ours[1], ours[2], 2.0)
    expected = theirs[0] @ weight.double().T + 2.0 * theirs[0] @ theirs[1].T @ theirs[2].T
    result.backward(grad)
    expected.backward(grad.double())
    pairs = [(result, expected), *((mine.grad, other.grad) for mine, other in zip(ours, theirs, strict=True))]
    for mine, other in pairs:
        assert (mine.double() - other).norm() / other.norm() < 5e-3  # bfloat16 rounds by up to 2^-9


def test_speed_beside_peft(capsys):
    """Printed, not judged: machines differ. It does fail where the two layers' results differ."""
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels_gpu.py"), "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        sys.stdout.write(f"\n{done.stdout}\n")
