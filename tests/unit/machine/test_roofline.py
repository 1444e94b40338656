"""The bounds are those of the roofline model, written out by hand."""

import pytest

from aria_ray.machine.flops import lora_step_flops
from aria_ray.machine.roofline import (
    PLAIN,
    PRECISIONS,
    Peak,
    Speculation,
    TimeBound,
    causal_pairs,
    decode_bounds,
    decode_bounds_at,
    decode_step_s,
    num_multiplied_weights,
    prefill_s,
    replicas_for,
    requests_per_s,
    train_step_s,
)
from aria_ray.machine.specs import MI300X
from aria_ray.planning.model_sizes import model_size

LLAMA_8B = model_size("meta-llama/Llama-3.1-8B").shape
LINEAR, HEAD = 6_979_321_856, 525_336_576
BF16, FP8 = PRECISIONS["bf16"], PRECISIONS["fp8"]
PEAK = Peak(MI300X.memory_bytes_per_s, MI300X.peak_flops_per_s["bf16"])
PEAK_FP8 = Peak(MI300X.memory_bytes_per_s, MI300X.peak_flops_per_s["fp8"])


def test_310_tokens_a_second_of_one_stream_are_94_percent_of_all_weights_read_and_88_of_those_that_are_needed():
    every_weight = MI300X.memory_bytes_per_s / (8.03e9 * 2)
    assert every_weight == pytest.approx(330.0, rel=1e-3)
    assert 310 / every_weight == pytest.approx(0.94, abs=0.005)
    # Of the embedding a step reads one row, not the 1.05 GB.
    needed = decode_bounds_at(LLAMA_8B, PEAK, BF16, streams=1, context_tokens=0).tokens_per_s
    assert needed == pytest.approx(5.3e12 / (2 * (LINEAR + HEAD)))
    assert 310 / needed == pytest.approx(0.88, abs=0.005)


def test_without_context_the_bounds_are_those_of_the_weights():
    plain = decode_bounds(LLAMA_8B, 32, bytes_per_weight=2, bytes_per_s=5.3e12, flops_per_s=1307.4e12)
    assert plain == decode_bounds_at(LLAMA_8B, PEAK, BF16, streams=32, context_tokens=0)
    assert num_multiplied_weights(LLAMA_8B) == LINEAR + HEAD
    assert plain.by_memory == pytest.approx(32 * 5.3e12 / (2 * (LINEAR + HEAD)))
    assert plain.by_arithmetic == pytest.approx(1307.4e12 / (2 * (LINEAR + HEAD)))


def test_each_stream_reads_the_keys_and_values_of_its_context():
    streams, context = 128, 2000
    bound = decode_bounds_at(LLAMA_8B, PEAK, BF16, streams=streams, context_tokens=context)
    num_bytes = 2 * (LINEAR + HEAD) + streams * context * 131_072
    assert bound.by_memory == pytest.approx(streams * 5.3e12 / num_bytes)
    flops = 2 * (LINEAR + HEAD) + 4 * 32 * 32 * 128 * context
    assert bound.by_arithmetic == pytest.approx(1307.4e12 / flops)


def test_fp8_halves_what_one_stream_reads_of_the_blocks():
    bound = decode_bounds_at(LLAMA_8B, PEAK_FP8, FP8, streams=1, context_tokens=0)
    assert bound.tokens_per_s == pytest.approx(5.3e12 / (LINEAR + 2 * HEAD))


def test_speculation_gains_where_memory_is_the_bound_and_loses_where_arithmetic_is():
    speculation = Speculation(drafted_tokens=4, tokens_per_step=1.5)
    one, guessed = (
        decode_bounds_at(LLAMA_8B, PEAK, BF16, streams=1, context_tokens=100, speculation=how) for how in (PLAIN, speculation)
    )
    assert guessed.tokens_per_s == pytest.approx(1.5 * one.tokens_per_s)
    many, guessed = (
        decode_bounds_at(LLAMA_8B, PEAK, BF16, streams=5000, context_tokens=0, speculation=how) for how in (PLAIN, speculation)
    )
    assert guessed.tokens_per_s == pytest.approx(1.5 / 5 * many.tokens_per_s)


def test_a_long_prompt_is_bound_by_arithmetic_and_a_single_token_by_memory():
    long, short = (prefill_s(LLAMA_8B, PEAK, BF16, prompt_tokens=tokens) for tokens in (2000, 1))
    attention = 4 * 32 * 32 * 128
    flops = 2 * LINEAR * 2000 + attention * 2000 * 2001 / 2 + 2 * HEAD
    assert long.seconds == long.by_arithmetic_s == pytest.approx(flops / 1307.4e12)
    assert short.seconds == short.by_memory_s == pytest.approx(2 * (LINEAR + HEAD) / 5.3e12)


def test_reading_a_prompt_is_the_forward_half_of_training_without_adapter():
    tokens = 512
    step = lora_step_flops(LLAMA_8B, 0, (), num_tokens=tokens, num_attention_pairs=causal_pairs(tokens), num_supervised=0)
    attention = 4 * 32 * 32 * 128 * causal_pairs(tokens)
    forward = prefill_s(LLAMA_8B, PEAK, BF16, prompt_tokens=tokens).by_arithmetic_s * PEAK.flops_per_s - 2 * HEAD
    assert forward == pytest.approx((step - 3 * attention) / 2 + attention)


def test_a_training_step_takes_its_arithmetic_or_its_bytes():
    bound = train_step_s(Peak(1e12, 1e15), flops=6e13, weight_bytes=16e9, num_trained=10**8)
    assert bound.by_arithmetic_s == pytest.approx(0.06)
    assert bound.by_memory_s == pytest.approx(0.032 + 0.0028)
    assert bound.seconds == bound.by_arithmetic_s


def test_requests_take_the_arithmetic_of_all_they_compute_or_the_traffic_of_their_steps():
    prompt = TimeBound(by_memory_s=3, by_arithmetic_s=2)
    # 20 tokens of steps of 4 streams: 5 steps each.
    assert requests_per_s(prompt, TimeBound(1, 0.5), streams=4, output_tokens=20) == pytest.approx(1 / 5)
    assert requests_per_s(prompt, TimeBound(1, 0.9), streams=4, output_tokens=20) == pytest.approx(1 / (2 + 4.5))


def test_prompts_and_decoding_overlap_as_in_chunked_prefill():
    prompt = prefill_s(LLAMA_8B, PEAK, BF16, prompt_tokens=2048)
    step = decode_step_s(LLAMA_8B, PEAK, BF16, streams=128, context_tokens=2176)
    found = requests_per_s(prompt, step, streams=128, output_tokens=256)
    assert found == pytest.approx(38.7, abs=0.1)
    assert found > 1 / (prompt.seconds + 2 * step.seconds)  # one after the other


@pytest.mark.parametrize(
    ("load", "each", "share", "replicas"),
    [(10, 10, 1, 1), (10.1, 10, 1, 2), (10, 10, 0.5, 2), (10, 10, 0.33, 4), (0.1, 10, 1, 1)],
)
def test_replicas_are_rounded_up(load, each, share, replicas):
    assert replicas_for(load, each, achieved_share=share) == replicas
