"""Measurements beside the stock steps and of what a newcomer pays: `python -m benchmarks`."""
