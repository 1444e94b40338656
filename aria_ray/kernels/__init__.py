"""Kernels of our own, in Triton, and what is left to others.

Who does what in a training step (LoRA over a frozen Llama, packed rows, bf16 on a GPU), and why:

- x W^T and g W of layers with an adapter: ours (`gemm`, `lora`). The low-rank product is added while the tile is in registers.
  A library writes y first, and the sum reads and writes it again; PEFT's layer, which keeps A and B in float32, besides turns x
  into float32 and multiplies the product of B by the scale in passes of their own.
- x A^T, g B and the gradients of A and B: hipBLASLt or cuBLAS through torch. Their results have R columns or rows, so they are
  bound by reading x or g once, with the inner size split over the device: what the libraries' heuristics are for.
- Products without an adapter: hipBLASLt or cuBLAS. There is nothing to fuse.
- Attention: FlexAttention, Triton templates of torch. It takes the prefix tree's mask and skips the blocks that it rules out.
- RMSNorm, RoPE, SwiGLU, residual sums: transformers' torch code, bound by memory. Liger has kernels for them, on ROCm too; it
  is no dependency of the project, and kernels of our own would do again what is there.
- Output head and cross entropy: torch, in chunks of 256 supervised positions (`training.loop`), so that logits are never there
  whole, which is what Liger's fused linear cross entropy is for. That one does not take this head, whose rows for the trained
  control tokens stand beside a frozen weight.
- Sum and clipping of gradients, AdamW: torch, one flat sum and one fused pass over some ten million elements.

There is no kernel for the cross entropy, because it has little to win. By Llama-3.1-8B's sizes (H = 4096, V = 128,256) the head
takes 4 H V = 2.1 GFLOP for a supervised position, and torch's loss in float32 moves 36 bytes for each of its logits, 4.6 MB. On
an MI300X that reached all of its 5.3 TB/s and half of its 1,307 TFLOP/s that is 0.9 us for the loss, 3.2 us for the head, and
43 us for a token in the layers (4 x 7.0e9 FLOP). With one of four tokens supervised the loss is 0.5 % of a step, of which a
fused kernel would leave a fifth. These are bounds, not measurements.
"""
