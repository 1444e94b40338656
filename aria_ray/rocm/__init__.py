"""What AMD GPUs need: which GPUs a process sees, and ROCm's settings."""
