"""Sub-commands of this room."""
