"""The project's one Triton kernel, a LoRA layer's product (`hardware.kernels: triton`), and why all else uses libraries.

Code that computes each part of a training step (LoRA over a frozen Llama, packed rows, bf16 on a GPU):

- x W^T and g W of layers with an adapter: the Triton kernel (`gemm`, `lora`) where it is chosen. It adds the low-rank product
  while the tile is in registers. A library writes y first, and the sum reads and writes it again. PEFT's layer keeps A and B in
  float32: it also converts x to float32 and multiplies the product of B by the scale, each in a pass of its own.
- x A^T, g B and the gradients of A and B: hipBLASLt or cuBLAS through torch. Their results have R columns or rows. They are
  bound by reading x or g once, with the inner size split over the device, which the libraries' heuristics do.
- Products without an adapter: hipBLASLt or cuBLAS. There is nothing to fuse.
- Attention: FlexAttention, Triton templates of torch. It takes the prefix tree's mask and skips the blocks that are masked out.
- RMSNorm, RoPE, SwiGLU, residual sums: transformers' torch code, bound by memory. Liger has kernels for them, on ROCm too. It
  is not a dependency of the project, and kernels of our own would repeat it.
- Output head and cross entropy: torch, in chunks of 256 supervised positions (`training.loop`), so that the logits never exist
  as a whole. Liger's fused linear cross entropy has the same aim, but cannot take this head, in which trained rows for the
  control tokens stand beside a frozen weight.
- Sum and clipping of gradients, AdamW: torch, one flat sum and one fused pass over some ten million elements.

A kernel for the cross entropy would gain little. With the sizes of Llama-3.1-8B (H = 4096, V = 128,256) the head takes
4 H V = 2.1 GFLOP per supervised position, and torch's loss in float32 moves 36 bytes per logit, 4.6 MB. An MI300X at all of its
5.3 TB/s and half of its 1,307 TFLOP/s needs 0.9 us for the loss, 3.2 us for the head, and 43 us per token for the layers
(4 x 7.0e9 FLOP). With one of four tokens supervised the loss is 0.5 % of a step, and a fused kernel would save four fifths of
that. These are bounds, not measurements.
"""
