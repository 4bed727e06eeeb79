"""Take the weights out of ONNX models, so that a repository can hold them.

An architecture needs the weights' names, types and dimensions but not their elements. Stripping
empties every floating-point tensor of more than `LARGEST_KEPT` elements and keeps the others:
integers decide shapes, and small float tensors are the constants of activations and scales.
Comments, exporter metadata and recorded shapes go too; they only make files larger.

Use from the other scripts: `onnx_strip.save(onnx_strip.strip(model), path)`. Files whose names end
with `.gz` are packed.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

LARGEST_KEPT = 64

FLOAT_TYPES = {
    value
    for name, value in TensorProto.DataType.items()
    if name.startswith(("FLOAT", "BFLOAT", "DOUBLE"))
}
PAYLOADS = ("raw_data", "float_data", "double_data", "int32_data", "external_data", "data_location")


def strip(model: ModelProto) -> ModelProto:
    """A copy of `model` without weights, comments, metadata and recorded shapes."""
    stripped = ModelProto()
    stripped.CopyFrom(model)
    _clear_notes(stripped)
    _strip_graph(stripped.graph)
    for function in stripped.functions:
        _clear_notes(function)
        _strip_nodes(function.node)
    return stripped


def save(model: ModelProto, path: Path) -> None:
    """Writes `model` to `path`, creating the folder, and says how large it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = model.SerializeToString(deterministic=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    size = path.stat().st_size / 1000
    name = f"{path.parent.name}/{path.name}"
    print(f"{name}: {len(model.graph.node)} nodes, {size:.0f} kB", flush=True)


def load(path: Path) -> ModelProto:
    """The model that `save` wrote to `path`."""
    content = path.read_bytes()
    return onnx.load_from_string(gzip.decompress(content) if path.suffix == ".gz" else content)


def _strip_graph(graph: GraphProto) -> None:
    _clear_notes(graph)
    for value in (*graph.input, *graph.output):
        _clear_notes(value)
    for tensor in graph.initializer:
        _strip_tensor(tensor)
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        _clear_notes(node)
        for attribute in node.attribute:
            _strip_attribute(attribute)


def _strip_attribute(attribute: AttributeProto) -> None:
    _clear_notes(attribute)
    # Touching an absent `t` or `g` would bring it into being.
    if attribute.HasField("t"):
        _strip_tensor(attribute.t)
    if attribute.HasField("g"):
        _strip_graph(attribute.g)


def _strip_tensor(tensor: TensorProto) -> None:
    _clear_notes(tensor)
    elements = 1
    for dim in tensor.dims:
        elements *= dim
    if tensor.data_type in FLOAT_TYPES and elements > LARGEST_KEPT:
        for field in PAYLOADS:
            tensor.ClearField(field)


def _clear_notes(message: object) -> None:
    for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
