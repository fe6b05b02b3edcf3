"""What a client does with its own samples in a round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fedaffect.server.federation.settings.fields import Section, setting

if TYPE_CHECKING:
    from fedaffect.client.train_config import TrainConfig


class Training(Section):
    """Local training."""

    local_epochs: int = setting("Passes over a client's data in a round.", metavar="E", ge=1)
    batch_size: int = setting("Samples a step.", metavar="B", ge=1)
    max_steps: int | None = setting(
        "Most steps of one client update.", default=None, metavar="N", otherwise="no bound", ge=1
    )
    lr: float = setting("Learning rate.", metavar="X", usual="0.001", common=True, gt=0, allow_inf_nan=False)
    lr_schedule: Literal["constant", "cosine", "linear"] = setting(
        "How it falls over rounds.", metavar="constant|cosine|linear"
    )
    optimizer: Literal["sgd", "adamw"] = setting("Optimiser of the clients.", metavar="sgd|adamw")
    momentum: float = setting("Momentum of sgd.", metavar="X", ge=0)
    weight_decay: float = setting("Weight decay.", metavar="X", ge=0)
    gradient_clip: float = setting("Largest norm of a step's gradient; 0 for none.", metavar="X", ge=0)
    loss: str = setting("cross-entropy, weighted, balanced, focal, …", metavar="NAME")
    rating_loss: Literal["ccc", "mse"] = setting(
        "Loss of ratings, beside that of the class; with --dp local, and where encoders learn too, always mse.",
        default="ccc",
        metavar="ccc|mse",
    )
    modality_dropout: float = setting("Rate at which training hides a modality.", metavar="P", unit="rate", ge=0, le=1)
    keep_optimizer: bool = setting(
        "Whether clients keep optimiser state between rounds.", default=False, off="--fresh-optimizer"
    )

    def train_config(self, **changes: Any) -> TrainConfig:
        """Settings of one client's local training, as they travel to it.

        Parameters
        ----------
        **changes
            Settings of `TrainConfig` that are not a run's own, such as the strategy's local algorithm.
        """
        from fedaffect.client.train_config import TrainConfig

        own = self.model_dump(exclude={"lr_schedule", "max_steps"})
        return TrainConfig(**({**own, "max_steps": self.max_steps or 0} | changes))
