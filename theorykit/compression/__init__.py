"""A smaller model at the end of one call: calibration on several kinds of text, measured prices, gauge-free factors."""
