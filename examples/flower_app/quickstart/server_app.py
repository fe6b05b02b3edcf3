"""The ServerApp: federated averaging, as Flower ships it."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from quickstart.task import Net

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Average for some rounds, and say what came out."""
    settings = context.run_config
    torch.manual_seed(settings["seed"])
    share = settings["clients-per-round"] / len(list(grid.get_node_ids()))
    strategy = FedAvg(fraction_train=min(1.0, share), fraction_evaluate=min(1.0, share))
    result = strategy.start(
        grid,
        ArrayRecord(Net().state_dict()),
        num_rounds=settings["rounds"],
        train_config=ConfigRecord({key: settings[key] for key in ("examples", "local-epochs", "batch-size", "lr")}),
        evaluate_config=ConfigRecord({"examples": settings["examples"]}),
    )
    accuracy = result.evaluate_metrics_clientapp[settings["rounds"]]["eval-acc"]
    print(f"accuracy on constructed images after {settings['rounds']} rounds: {accuracy:.3f}")
