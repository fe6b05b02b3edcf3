"""Serving the full model: transports, gateway, scheduling, engines."""
