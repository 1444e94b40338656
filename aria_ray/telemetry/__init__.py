"""What the machines do while something runs: processors, memory and GPUs, sampled on this machine or on every node."""
