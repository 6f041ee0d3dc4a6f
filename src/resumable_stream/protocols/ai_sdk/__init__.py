"""What the clients of the AI SDK speak: UI message streams (ai@5 to ai@7) and data streams (ai@4)."""
