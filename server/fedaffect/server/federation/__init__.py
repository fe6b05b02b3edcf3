"""The round loop and what a round is made of: participants, steps, aggregation, privacy, checkpoints, evaluation."""
