"""The learner frame: what a browser loads from the engine's own origin."""
