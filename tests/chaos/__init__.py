"""Real servers and real processes, killed, paused and cut off while streams run; and the count of what survived.

The same scenarios run short and seeded in ``make test``, and long in ``make chaos``.
"""
