"""The protocol, and the code generated from it by `make proto`."""
