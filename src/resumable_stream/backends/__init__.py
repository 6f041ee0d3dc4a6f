"""Where streams are kept. Nothing is imported here: a driver is loaded when its backend is."""
