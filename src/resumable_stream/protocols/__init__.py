"""Wire formats: chunks to bytes, and back. Pure functions and state machines, without I/O and without a framework."""
