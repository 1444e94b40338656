"""AMD GPUs: which of them a process sees, and ROCm's settings."""
