"""A small reader and writer of safetensors files with numpy, for tests (Debian has no package of the
reference one).

Eight bytes with the length of the header, the header as JSON, the arrays' bytes; see
https://github.com/huggingface/safetensors for the format.
"""

import json

import numpy as np

DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def load(path):
    """name -> array, read-only, in the order of the file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        flat = np.frombuffer(data, dtype, (end - begin) // dtype.itemsize, begin)
        arrays[name] = flat.reshape(entry["shape"])
    return arrays


def save(path, arrays, metadata=None):
    """Writes name -> array, larger elements first, so that each is aligned to its element."""
    # Not ascontiguousarray, which makes vectors of scalars.
    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name in order:
        a = arrays[name]
        header[name] = {
            "dtype": NAMES[a.dtype.newbyteorder("<")],
            "shape": list(a.shape),
            "data_offsets": [offset, offset + a.nbytes],
        }
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(arrays[name].tobytes())
