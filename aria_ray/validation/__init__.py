"""The proof: what the live endpoint does, measured over HTTP, and the verdict."""
