"""A fleet of devices that learn: its authority, its processes, its service, its runs and rollouts."""
