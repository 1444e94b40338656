"""What the hardware is doing."""
