"""The use cases and examples, followed in real machines as their pages and files have them.

`cargo xtask smoke` says where things are, with the variables of `sdks/python/live`.
"""
