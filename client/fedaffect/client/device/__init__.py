"""A device of a fleet: its key and folder, when it may learn, its resident trainer and its SuperNode."""
