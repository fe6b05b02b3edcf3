"""A run's regions, by its settings: a simulation's aggregators over one grid, and the root's collection over any."""

from __future__ import annotations

from collections.abc import Callable

from fedaffect.client.shared_part import SharedPart
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.regions.aggregator import RegionalAggregator
from fedaffect.server.federation.regions.collection import RegionalCollection, RegionGrid
from fedaffect.server.federation.regions.local import LocalRegions
from fedaffect.server.federation.regions.order import Order, RegionMap, Regions
from fedaffect.server.federation.regions.secure import SecureRegionalCollection
from fedaffect.server.federation.secagg.encodings import RoundEncodings
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.secagg.training import JOURNAL
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.steps import Collection


def regional_collection(
    config: RunSettings,
    regions: RegionMap,
    grid: RegionGrid,
    nodes: Nodes,
    shared: SharedPart,
    privacy: PrivacyMechanism,
    timeout_s: float,
    sums: Callable[[str], SumLedger],
) -> Collection:
    """How a round's updates come together by regions.

    Parameters
    ----------
    config : RunSettings
    regions : RegionMap
    grid : RegionGrid
        Reaches the regions' aggregators.
    nodes : Nodes
        Of clients.
    shared : SharedPart
    privacy : PrivacyMechanism
    timeout_s : float
        How long a round's clients are waited for.
    sums : callable
        The ledger of secure sums in a file of this name.
    """
    template = Order(
        round=0,
        clients=(),
        asked=0,
        own=shared.own_names,
        uniform=privacy.uniform,
        norm_bound=config.robustness.norm_bound,
        timeout_s=timeout_s,
        excuses_late=config.time.deadline_s is not None,
        neighbours=config.secagg.secagg_neighbours or 0,
        threshold=config.secagg.secagg_threshold or 0,
    )
    regional = RegionalCollection(grid, nodes, regions, shared.layout, template, privacy)
    if not config.secagg.secagg:
        return regional
    ledger = sums(JOURNAL)
    return SecureRegionalCollection(regional, RoundEncodings(config, shared.layout, ledger, privacy), ledger)


def local_regions(
    config: RunSettings,
    grid: TrainingGrid,
    nodes: Nodes,
    known: int,
    wanted: int,
    sums: Callable[[str], SumLedger],
) -> tuple[Regions, LocalRegions]:
    """The regions of ``--regions``, and aggregators of them in this process.

    Parameters
    ----------
    config : RunSettings
    grid : TrainingGrid
        Reaches all clients.
    nodes : Nodes
    known, wanted : int
        Clients of the federation, and of a round.
    sums : callable
        As of `regional_collection`.

    Raises
    ------
    ConfigError
        If there are more regions than clients, or a round leaves regions with secure sums over one.
    """
    count, secure = config.engine.regions or 1, config.secagg.secagg
    least = max(2, config.secagg.secagg_threshold or 0)
    if secure and wanted < least * count:
        raise ConfigError(
            f"{wanted} clients a round leave --regions {count} with secure sums over fewer than {least}; "
            f"lower --regions or raise --clients-per-round"
        )
    regions = Regions(known, count)
    aggregators = [
        RegionalAggregator(
            grid, nodes, regions.members(region), sums(f"region-{region + 1}-{JOURNAL}") if secure else None
        )
        for region in range(count)
    ]
    return regions, LocalRegions(aggregators)
