"""The full model: encoders as large as the cloud can afford, and the fusion behind them."""
