"""Tool-calling Llamas on Ray: data, curriculum training, serving and proof."""
