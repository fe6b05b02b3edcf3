"""Federation without rounds that everybody waits for: buffered asynchronous aggregation, and simulated time."""
