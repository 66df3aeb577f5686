"""Tests of the Python SDK, by the standard library alone: `python -m unittest discover -t . -s tests` in `sdks/python`."""
