"""Headers, held against the reference implementation, which refuses what we refuse."""

import json
import math
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from xinst_jax.errors import UserError
from xinst_jax.hf import header


def good_record() -> dict:
    return {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
        "c": {"dtype": "I64", "shape": [0, 4], "data_offsets": [26, 26]},
        "d": {"dtype": "F8_E4M3", "shape": [6], "data_offsets": [26, 32]},
    }


def file_of(record, data: bytes = bytes(32)) -> bytes:
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(name: str, **fields) -> bytes:
    record = good_record()
    record[name] = record[name] | fields
    return file_of(record)


def reference_takes(path) -> bool:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            file.keys()
    except safetensors.SafetensorError:
        return False
    return True


WHOLE = file_of(good_record())
LIES = {
    "empty": b"",
    "no header": WHOLE[:7],
    "truncated header": WHOLE[:40],
    "truncated tensors": WHOLE[:-1],
    "more than the header says": WHOLE + b"\0",
    "header longer than the file": struct.pack("<Q", len(WHOLE)) + WHOLE[8:],
    "header of exabytes": struct.pack("<Q", 2**63) + WHOLE[8:],
    "not JSON": file_of(b"{" + b"x" * 20),
    "not an object": file_of(b"[1, 2]", b""),
    "not UTF-8": file_of(b'{"\xff": 1}', b""),
    "not safetensors": b"PK\x03\x04" + bytes(200),
    "deep JSON": file_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b""),
    "wrong size for the shape": changed("a", shape=[2, 4]),
    "wrong size for the dtype": changed("a", dtype="F16"),
    "unknown dtype": changed("a", dtype="F31"),
    "dtype not text": changed("a", dtype=["F32"]),
    "negative size": changed("a", shape=[-2, -3]),
    "size not a number": changed("a", shape=["2", 3]),
    "fractional size": changed("a", shape=[2.0, 3]),
    "no shape": file_of({"a": {"dtype": "F32", "data_offsets": [0, 32]}}),
    "one offset": changed("a", data_offsets=[24]),
    "offsets turned round": changed("a", data_offsets=[24, 0]),
    "gap": file_of({"a": {"dtype": "U8", "shape": [31], "data_offsets": [1, 32]}}),
    "overlap": changed("b", data_offsets=[20, 22]),
    "beyond the end": changed("d", data_offsets=[26, 99], shape=[73]),
    "tensor that is none": file_of({"a": 5}),
    "metadata of numbers": file_of(good_record() | {"__metadata__": {"format": 1}}),
    "metadata that is none": file_of(good_record() | {"__metadata__": 5}),
    "metadata that is false": file_of(good_record() | {"__metadata__": False}),
}


@pytest.mark.parametrize("fault", LIES)
def test_a_header_that_lies_is_refused_as_the_reference_refuses_it(fault, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(LIES[fault])
    assert not reference_takes(path)
    with pytest.raises(UserError, match=r"model\.safetensors is not a whole") as error:
        header.read(path)
    assert len(str(error.value)) < 500


def test_a_name_that_stands_twice_is_refused(tmp_path):
    entry = '"a": {"dtype": "U8", "shape": [4], "data_offsets": [%d, %d]}'
    text = "{" + entry % (0, 4) + ", " + entry % (4, 8) + "}"
    (tmp_path / "x").write_bytes(file_of(text.encode(), bytes(8)))
    with pytest.raises(UserError, match="name twice"):
        header.read(tmp_path / "x")


def test_damage_at_random_is_noticed_whenever_the_reference_notices(tmp_path):
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "x", 0
    for _ in range(300):
        content = bytearray(WHOLE)
        for place in rng.integers(0, len(WHOLE) - 32, rng.integers(1, 4)):
            content[place] = rng.choice(list(b'0123456789"[]{},:FUI \xff'))
        path.write_bytes(content)
        if not reference_takes(path):
            refused += 1
            with pytest.raises(UserError):
                header.read(path)
    assert refused > 200


def test_tensors_are_found_where_the_reference_put_them(tmp_path):
    rng = np.random.default_rng(1)
    tensors = {
        f"t{i}": rng.normal(size=rng.integers(1, 5, i)).astype(dtype)
        for i, dtype in enumerate((np.float64, np.float16, np.int32, np.uint8))
    }
    safetensors.numpy.save_file(tensors, tmp_path / "x", metadata={"by": "them"})
    content = (tmp_path / "x").read_bytes()
    found = header.read(tmp_path / "x")
    assert found.keys() == tensors.keys()
    for name, entry in found.items():
        assert entry.shape == tensors[name].shape
        part = content[entry.start : entry.start + entry.size]
        assert part == tensors[name].tobytes()


def test_what_is_encoded_is_read_by_the_reference_in_the_same_order(tmp_path):
    tensors = {"z": ("BF16", (3, 2)), "a": ("BF16", ()), "ü": ("BF16", (0, 7))}
    size = sum(2 * math.prod(shape) for _, shape in tensors.values())
    content = header.encode(tensors) + bytes(size)
    (tmp_path / "x").write_bytes(content)
    with safetensors.safe_open(tmp_path / "x", "numpy") as file:
        for name, (_, shape) in tensors.items():
            assert tuple(file.get_slice(name).get_shape()) == shape
        assert sorted([*file.keys()]) == sorted(tensors)
        assert file.metadata() == {"format": "pt"}
    assert [*header.read(tmp_path / "x")] == ["z", "a", "ü"]
    assert header.read(tmp_path / "x")["z"].start % 8 == 0
