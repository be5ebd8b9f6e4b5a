"""Writes the ONNX backend node test cases as files: FOLDER/<case>/{model.onnx, test_data_set_<i>/
{input,output}_<j>.pb}, and FOLDER/index.tsv with one line per case:

    name  rtol  atol  operators (domain:name, comma-separated)  what ember leaves out by design: element
    types, values that are not tensors, opsets before 7

Does nothing when FOLDER already holds what this script and this onnx release would write."""

import hashlib
import pathlib
import shutil
import sys
import warnings

import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_node_model_tests

PLAIN_TYPES = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
    TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16,
    TensorProto.UINT32, TensorProto.UINT64, TensorProto.BOOL, TensorProto.UNDEFINED,
}


def type_name(elem_type):
    return "type " + TensorProto.DataType.Name(elem_type).lower()


def kinds_of_type(proto, found):
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        if proto.tensor_type.elem_type not in PLAIN_TYPES:
            found.add(type_name(proto.tensor_type.elem_type))
    elif kind is not None:
        found.add(kind.removesuffix("_type"))


OLDEST_OPSET = 7

# Attributes that hold an element type.
TYPE_ATTRIBUTES = {"to", "dtype", "output_dtype", "precision"}


def inspect(graph, operators, kinds):
    for value in [*graph.input, *graph.output, *graph.value_info]:
        kinds_of_type(value.type, kinds)
    tensors = list(graph.initializer)
    for node in graph.node:
        operators.add(f"{node.domain}:{node.op_type}")
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                inspect(attribute.g, operators, kinds)
            elif attribute.type == AttributeProto.TENSOR:
                tensors.append(attribute.t)
            elif attribute.name in TYPE_ATTRIBUTES and attribute.i not in PLAIN_TYPES:
                kinds.add(type_name(attribute.i))
    kinds.update(type_name(t.data_type) for t in tensors if t.data_type not in PLAIN_TYPES)
    if graph.sparse_initializer:
        kinds.add("sparse_tensor")


def to_proto(value, value_info):
    kind = value_info.type.WhichOneof("value")
    convert = {
        "map_type": numpy_helper.from_dict,
        "sequence_type": numpy_helper.from_list,
        "optional_type": numpy_helper.from_optional,
    }.get(kind, numpy_helper.from_array)
    if isinstance(value, TensorProto):
        return value
    return convert(value, value_info.name)


def write_case(case, folder):
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for index, (inputs, outputs) in enumerate(case.data_sets):
        data_set = folder / f"test_data_set_{index}"
        data_set.mkdir()
        for prefix, values, infos in (("input", inputs, case.model.graph.input),
                                      ("output", outputs, case.model.graph.output)):
            for j, (value, info) in enumerate(zip(values, infos)):
                (data_set / f"{prefix}_{j}.pb").write_bytes(to_proto(value, info).SerializeToString())


def main():
    target = pathlib.Path(sys.argv[1])
    script = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    stamp = f"onnx {onnx.__version__} {script}\n"
    stamp_file = target / "stamp"
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    warnings.simplefilter("ignore")
    lines = []
    for case in sorted(load_node_model_tests(), key=lambda c: c.name):
        operators, kinds = set(), set()
        inspect(case.model.graph, operators, kinds)
        if case.model.functions:
            kinds.add("function")
        for opset in case.model.opset_import:
            if opset.domain in ("", "ai.onnx") and opset.version < OLDEST_OPSET:
                kinds.add(f"opset {opset.version}")
        if not kinds & {"sequence", "optional", "map"}:
            folder = target / case.name
            folder.mkdir()
            write_case(case, folder)
        lines.append("\t".join([case.name, repr(case.rtol), repr(case.atol), ",".join(sorted(operators)),
                                ",".join(sorted(kinds))]))
    (target / "index.tsv").write_text("\n".join(lines) + "\n")
    stamp_file.write_text(stamp)
    print(f"{len(lines)} cases of onnx {onnx.__version__} in {target}")


if __name__ == "__main__":
    main()
