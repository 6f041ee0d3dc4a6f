"""Web frameworks: one thin module for each, to be imported by name."""
