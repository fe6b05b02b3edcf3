"""The way to the cloud: the protocol, and a client for each of its faces."""
