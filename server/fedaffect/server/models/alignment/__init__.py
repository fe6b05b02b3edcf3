"""Fitting what serves full encoders behind the trunk that devices learned, and what is measured on the way."""
