"""Networks by name and digest, and the one decoder that feeds them.

Start at `installation.install` (from packages to ONNX files), `image_decoder.decode_image` (from
bytes to canonical pixels) and `observer.open_observer` (from pixels to faces).
"""
