"""Learning rate over one curriculum stage."""

import math


def learning_rate(step: int, num_steps: int, peak: float, warmup_share: float) -> float:
    """Linear warm-up to `peak`, then a half cosine down to a tenth of it (SGDR, arXiv 1608.03983, without restarts inside).

    `step` counts from 0 to `num_steps` - 1.
    """
    warmup = math.ceil(num_steps * warmup_share)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))
