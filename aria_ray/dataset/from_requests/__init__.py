"""Rows from example requests: filled with other values, and with what people say around them."""
