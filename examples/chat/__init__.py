"""The example: a chat whose answers survive whatever happens to the page."""
