"""Keeps a running server's versions at what the registry says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.registry import Registry, RegistryUnavailable, deployments, models
from fedaffect.server.registry.deployments import Deployment
from fedaffect.server.serving.engines.versions import VersionedEngine

_LOG: Final = logging.getLogger(__name__)


class DeploymentWatch:
    """Polls the registry's deployments and applies the newest.

    A registry that is away changes nothing, and a split that cannot be served (a folder is gone, a model does not
    load) leaves the one before in place; it is tried again after ``retry_s``, or when another is made.

    Parameters
    ----------
    registry : Registry
    engine : VersionedEngine
    interval_s, retry_s : float
    """

    def __init__(
        self, registry: Registry, engine: VersionedEngine, *, interval_s: float = 2.0, retry_s: float = 30.0
    ) -> None:
        self._registry = registry
        self._engine = engine
        self._interval_s = interval_s
        self._retry_s = retry_s
        self._applied = 0
        self._failed: tuple[int, float] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Apply what holds now, then go on watching.

        Raises
        ------
        FedAffectError
            If what holds now cannot be served: a server should not start with less than it was told.
        """
        found = await asyncio.to_thread(self._newest)
        if found is not None:
            await self._apply(*found)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching; what is served stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> bool:
        """Apply the newest deployment if it is not the one applied.

        Returns
        -------
        bool
            Whether something changed.
        """
        try:
            found = await asyncio.to_thread(self._newest)
        except RegistryUnavailable as error:
            _LOG.warning("the split stays as it is: %s", error)
            return False
        if found is None or found[0].id == self._applied:
            return False
        deployment = found[0]
        if self._failed and self._failed[0] == deployment.id and time.monotonic() < self._failed[1]:
            return False
        try:
            await self._apply(*found)
        except (FedAffectError, OSError) as error:
            self._failed = deployment.id, time.monotonic() + self._retry_s
            _LOG.error("split %d cannot be served, the one before stays: %s", deployment.id, error)
            return False
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look()
            # Whatever a model's own code raises must not end the watch.
            except Exception:  # noqa: BLE001
                _LOG.exception("the registry's newest split could not be applied")

    def _newest(self) -> tuple[Deployment, dict[str, Path]] | None:
        deployment = deployments.current(self._registry)
        if deployment is None:
            return None
        return deployment, {version: models.get(self._registry, version).path for version in deployment.shares}

    async def _apply(self, deployment: Deployment, folders: dict[str, Path]) -> None:
        await self._engine.apply(folders, deployment.shares)
        self._applied = deployment.id
        self._failed = None
