"""Where chats are kept. Nothing is imported here: what a store needs is loaded when that store is."""
