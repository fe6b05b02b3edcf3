"""What the cloud does: aggregation, evaluation, building of bundles."""
