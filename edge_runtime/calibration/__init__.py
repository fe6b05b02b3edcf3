"""Calibrated confidence, and the threshold below which the cloud is asked."""
