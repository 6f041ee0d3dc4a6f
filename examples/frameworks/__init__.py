"""The same small application in each framework."""
