"""Charts as SVG text, for reports and for calibration: no plotting library, colours from where they stand."""
