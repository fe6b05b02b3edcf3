"""Regional aggregators of a fleet: each a fleet of its own, which answers a root fleet's orders with sums."""
