"""The REST and WebSocket transports."""
