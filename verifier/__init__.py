"""Decisions as values and pure functions: no file, no network, no clock, no weights.

Read in this order: `observation` (what was seen), `quality` (whether it may be compared),
`comparison` and `calibration` (whose face), `answer` (what a prompt's answer is told), `schedule`,
`session_state` and `session` (when is asked, and what may happen then), `presence` and
`session_score` (who was there), `credit` and `claim` (what it is worth), and `transparency` (how
all of it is proved). `error_rates` and its neighbours say how well comparisons do.
"""
