"""Runs of a fleet: driver, lease, ledger, members, export."""
