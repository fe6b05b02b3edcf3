"""What every transport does with a request: access, limits, idempotency, metrics, log."""
