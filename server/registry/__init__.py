"""What the cloud remembers: API keys, model versions, who gets which, bundles on offer, feedback."""

from server.registry.database import Registry, RegistryUnavailable, default_url

__all__ = ["Registry", "RegistryUnavailable", "default_url"]
