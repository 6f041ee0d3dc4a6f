"""Other projects' protocols, for fleets that are mixed. Each module says which version it was made for."""
