"""Many simulated clients on a few resident Ray actors, behind Flower's ``Grid``."""

from fedaffect.simulation.grid.ray_grid import RayGrid

__all__ = ["RayGrid"]
