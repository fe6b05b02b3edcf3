"""The server's database: keys, models, bundles, feedback; the fleet's devices, runs, privacy and audit log."""

from fedaffect.server.registry.database import Registry, RegistryFull, RegistryUnavailable, default_url

__all__ = ["Registry", "RegistryFull", "RegistryUnavailable", "default_url"]
