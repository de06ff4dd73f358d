"""Lessons that never took place: people before simulated webcams, and platforms that answer.

Nothing here is known to the code that judges; it sees the bytes of frames and the calls of a
platform, and no name of a person, role or scenario.
"""
