"""Writes src/model_graph/op_type/attributes.rs: the attributes of every operator that the table in
src/model_graph/op_type.rs names, and of those that the importer writes out, from the schemas by
which onnx and ONNX Runtime check files.

An operator has what it has in any version, with the type of the newest. Needs onnx, onnxruntime
and rustfmt.
"""

import pathlib
import re
import subprocess
from itertools import groupby

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

SOURCE = pathlib.Path(__file__).parent.parent / "src/model_graph"
KINDS = {
    "INT": "Int",
    "FLOAT": "Float",
    "STRING": "String",
    "INTS": "Ints",
    "FLOATS": "Floats",
    "STRINGS": "Strings",
    "TENSOR": "Tensor",
    "SPARSE_TENSOR": "Tensor",
    "GRAPH": "Graph",
}
# Operators that the importer writes out, which no network holds.
WRITTEN_OUT = (
    "ConcatFromSequence",
    "If",
    "Loop",
    "Scan",
    "SequenceAt",
    "SequenceConstruct",
    "SplitToSequence",
)
HEAD = '''//! Which attributes operators have. Written by scripts/operator_attributes.py: do not edit.

use super::OpType;
use crate::model_graph::attribute::Kind;

/// Name and kind of the operator's attributes in any version; `None` where nothing is known of it.
pub(super) fn of(op: &OpType) -> Option<&'static [(&'static str, Kind)]> {
    use Kind::*;
    use OpType as O;
    Some(match op {
'''


def operators():
    """Variant, domain and name of all operators in the table."""
    text = (SOURCE / "op_type.rs").read_text()
    table = text[text.index("\nop_types! {") :].partition("\n}\n")[0]
    domain = None
    for found, row in re.findall(r'^    "([^"]*)" \{|=>\s*([^;]*);', table, re.MULTILINE):
        if not row:
            domain = found
        for variant, name in re.findall(r'(\w+)(?: = "(\w+)")?', row):
            yield variant, domain, name or variant


def attributes():
    """Types of attributes by name, by domain and name of their operator."""
    schemas = [*onnx.defs.get_all_schemas_with_history(), *runtime.get_all_operator_schema()]
    found = {}
    for schema in sorted(schemas, key=lambda s: s.since_version):
        own = found.setdefault((schema.domain, schema.name), {})
        for name, attribute in schema.attributes.items():
            own[name] = str(attribute.type).rpartition(".")[2]
    return found


def pairs(known):
    own = ", ".join(f'("{name}", {KINDS[kind]})' for name, kind in sorted(known.items()))
    return f"&[{own}]"


def main():
    known = attributes()
    lines = {variant: pairs(known[tuple(operator)]) for variant, *operator in operators()}
    by_list = sorted(lines, key=lines.get)
    text = HEAD
    for own, variants in groupby(by_list, key=lines.get):
        text += f"        {' | '.join(f'O::{v}' for v in sorted(variants))} => {own},\n"
    text += "        O::Unknown { domain, name } if domain.is_empty() => match &**name {\n"
    for name in WRITTEN_OUT:
        text += f'            "{name}" => {pairs(known["", name])},\n'
    text += "            _ => return None,\n        },\n"
    text += "        O::Unknown { .. } => return None,\n    })\n}\n"
    path = SOURCE / "op_type/attributes.rs"
    path.write_text(text)
    subprocess.run(["rustfmt", "--edition", "2024", path], check=True)


main()
