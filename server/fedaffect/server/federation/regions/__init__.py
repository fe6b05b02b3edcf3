"""Two-level aggregation: a regional aggregator answers for its clients with one sum, and the root adds sums up."""
