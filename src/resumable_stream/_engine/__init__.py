"""Tasks: what runs between the context and a backend."""
