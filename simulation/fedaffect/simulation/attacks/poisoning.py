"""A cohort whose malicious clients hold what their attack wants them to hold."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from fedaffect.client.cohort import Cohort
from fedaffect.client.features.cache import reporting_disk
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.attacks.registry import Campaign


def poisoned(folder: Path, config: RunSettings) -> Path:
    """The cohort of a run under attack, beside the cohort itself; that one where nothing of it is poisoned.

    Parameters
    ----------
    folder : Path
        A prepared cohort.
    config : RunSettings

    Raises
    ------
    ConfigError
        If the attack does not exist or does not fit the cohort.
    """
    campaign = Campaign.of(config)
    if campaign is None or campaign.attack.poison is None:
        return folder
    about = {"name": campaign.name, "options": dict(campaign.options), "share": campaign.share, "seed": campaign.seed}
    digest = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    target = folder.with_name(f"{folder.name}-{campaign.name}-{digest}")
    if not (target / "cohort.json").is_file():
        cohort = Cohort.load(folder)
        malicious = campaign.malicious(cohort.num_clients)
        changed = campaign.attack.poison(cohort, malicious, campaign.options, campaign.seed)
        with reporting_disk(target):
            replace(changed, about={**cohort.about, "attack": about}).save(target)
    return target
