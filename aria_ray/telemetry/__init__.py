"""Usage of processors, memory and GPUs while something runs, sampled on this machine or on every node of a cluster."""
