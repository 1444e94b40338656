"""What a machine can do at most: published figures, measured peaks, operations of a Llama, and the roofline."""
