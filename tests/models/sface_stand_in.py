"""A made-up network in the shape of SFace: the published file is fetched only by a site.

It has SFace's input, output and one fixed picture a batch, so cutting, channel order, scale and
normalisation are tested on it. What SFace says of faces it cannot say.
"""

import numpy as np

from models.onnx_graph import OnnxGraph, Port


def stand_in_sface(*, side: int = 112, values: int = 128) -> bytes:
    """Return a network of input ``data`` and output ``fc1``: means of 7 x 7 fields, mixed."""
    graph = OnnxGraph()
    field = side // 7
    pooled = graph.node("AveragePool", "data", kernel_shape=(field, field), strides=(field, field))
    flat = graph.node("Flatten", pooled)
    weights = np.random.default_rng(11).normal(0, 0.1, (3 * 7 * 7, values)).astype(np.float32)
    graph.node("MatMul", flat, graph.constant(weights), output="fc1")
    source = Port(name="data", shape=(1, 3, side, side))
    return graph.serialise("stand-in", [source], [Port(name="fc1", shape=(1, values))])
