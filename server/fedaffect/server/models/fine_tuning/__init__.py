"""Encoders trained end to end over raw media, with a head or a fusion model behind them."""
