"""What is measured, one program for each contestant: they take orders on their standard input, and answer in JSON.

Those of peers run in environments that have the peer and nothing of this project, so what they share, `serve` and what
it imports, needs the standard library alone.
"""
