#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: corpus/<reader>/. Small good files of every kind and some
that must be refused; a fuzzer finds the rest from there. The same bytes at every run."""

import gzip
import io
import pathlib
import struct
import zipfile

HERE = pathlib.Path(__file__).resolve().parent / "corpus"


def npy(descr: str, fortran: str, shape: str, data: bytes, major: int = 1) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    prefix = 10 if major == 1 else 12
    text += " " * (-(len(text) + 1 + prefix) % 64) + "\n"
    length = struct.pack("<H" if major == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([major, 0]) + length + text.encode() + data


def idx(code: int, sizes: list[int], data: bytes) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data


def npz(method: int, *members: tuple[str, bytes], comment: bytes = b"", zip64: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, data in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(data)
    return out.getvalue()


def varint(value: int) -> bytes:
    more = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([byte | 0x80 for byte in more[:-1]] + more[-1:])


def runlogs() -> dict[str, bytes]:
    """As tests/fuzz/runlog.c takes them: a file, or records that it frames."""
    log = (HERE.parents[1] / "golden/runlog-1/log-000001.bplog").read_bytes()
    records, at = [], 96
    while at < len(log):
        kind, _, length = struct.unpack_from("<HHI", log, at + 4)
        records.append((kind, log[at + 36 : at + 36 + length]))
        at += 36 + length
    model = next(payload for kind, payload in records if kind == 1)

    def framed(how: int, *parts: tuple[int, bytes]) -> bytes:
        frames = (struct.pack("<BBH", kind, 0, len(data)) + data for kind, data in parts)
        return bytes([how]) + b"".join(frames)

    amounts = struct.pack("<d", 0.01), struct.pack("<2d", 0.5, 60)
    histograms = [
        (13, varint(step) + varint(layer) + b"\6\3\1\4" + varint(1074 - 20 + step) + b"\1\0\x7f\2")
        for step in (5, 6, 9, 8)
        for layer in (1, 2, 2)
    ]
    events = [
        (3, varint(1) + varint(2) + varint(7) + varint(9)),
        (6, varint(1) + varint(3)),
        (7, varint(300) + varint(200) + b"\1\3\1"),
        (8, varint(4) + varint(6) + b"step-4"),
        (9, varint(4) + varint(1) + b"\3new" + model[model.index(b"\3out") + 4 :]),
        (10, varint(9) + b"\2" + varint(10) + amounts[0] + b"\7" + varint(93) + amounts[1]),
        (11, struct.pack("<d", 1.7e9) + varint(20) + varint(3) + struct.pack("<3d", 1, float("nan"), -2)),
        (12, varint(10) + varint(0) + varint(99) + varint(90)),
        *histograms,
        (77, b"later"),
    ]
    return {
        "file": b"\0" + log,
        "cut": b"\0" + log[:-7],
        "old": framed(1, *records),
        "data": framed(3, *records),
        "events": framed(3, (1, model), *events, *records[1:]),
        "resumed": framed(7, (1, model), events[1], *records[1:], events[6]),
        "histograms": framed(3, (1, model), *records[1:3], *histograms, *records[3:]),
    }


def seeds() -> dict[str, dict[str, bytes]]:
    numbers = bytes(range(48))
    floats = struct.pack("<6f", 1, -2, 3.5, 0, 1e-42, float("inf"))
    kinds = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    idxs = {
        name: idx(code, [2, 3], numbers[: 6 * int(name[1])]) for name, code in kinds.items()
    }
    idxs |= {
        "deep": idx(8, [1, 2, 3, 2], numbers[:12]),
        "empty": idx(8, [0, 5], b""),
        "huge": idx(14, [2**32 - 1] * 8, b""),
        "gzip": gzip.compress(idxs["u1"], mtime=0),
        "two_members": gzip.compress(idxs["u1"][:7], mtime=0) + gzip.compress(idxs["u1"][7:], mtime=0),
        "zeros": gzip.compress(idx(8, [1 << 20], bytes(1 << 20)), mtime=0),
    }
    npys = {
        f"{order}{kind}".replace("<", "l").replace(">", "b").replace("|", "n"): npy(
            order + kind, "False", "(2, 3)", numbers[: 6 * int(kind[1])]
        )
        for order, kind in [*(("<", k) for k in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")),
                            (">", "f4"), (">", "i8"), ("|", "b1"), ("|", "u1"), ("|", "i1")]
    }
    npys |= {
        "fortran": npy("<f4", "True", "(3, 2)", floats),
        "scalar": npy("<f4", "False", "()", floats[:4]),
        "vector": npy("<f4", "False", "(6,)", floats, 2),
        "version3": npy("<f4", "False", "(6,)", floats, 3),
        "objects": npy("|O", "False", "(1,)", b"\x80\x04N."),
        "negative": npy("<f4", "False", "(-1,)", floats),
        "huge": npy("<f8", "False", "(4611686018427387904, 4, 0)", b""),
    }
    x, y = npys["lf4"], npys["li8"]
    npzs = {
        "stored": npz(0, ("X.npy", x), ("y.npy", y)),
        "deflated": npz(8, ("X.npy", x), ("y.npy", y)),
        "comment": npz(0, ("X.npy", x), comment=b"PK\5\6 and words"),
        "zip64": npz(8, ("X.npy", x), zip64=True),
        "twice": npz(0, ("X.npy", x), ("X.npy.", y)).replace(b"X.npy.", b"X.npy/"),
        "none": npz(0),
    }
    csvs = {
        "plain": b"a,b,c\n1,2,3\n4,5,6\n",
        "quotes": b'a,"b ""c""","d\n,e"\r\n"1","2",3\r\n\r\n4,,""',
        "mark": b"\xef\xbb\xbfx;y,z\n1e5,-0.5\n",
        "ragged": b"a,b\n1\n",
        "open": b'a,b\n"1,2\n',
        "returns": b"a\rb,c\r\n1,2\r",
    }
    return {"idx": idxs, "npy": npys, "npz": npzs, "csv": csvs, "ring": rings(), "runlog": runlogs(),
            "serve": asked()}


def rings() -> dict[str, bytes]:
    """Scripts for ring.c: 0-3 puts so many bytes, 4-5 takes, 6 flips a bit, 7 sets tail or head."""

    def put(length: int) -> bytes:
        return b"\0" + struct.pack(">H", length)

    take = b"\5"
    lengths = [1000, 1000, 1000, 1000, 24, 1200, 8, 0, 1499, 1500, 1, 7, 9]
    ends = [0, 8, 16, 4096, 4104, 2**63, 2**64 - 8]
    return {
        "put_and_take": b"".join(put(i * 97 % 1500) + 2 * take for i in range(60)),
        "fill": 8 * put(1400) + 10 * take,
        "wrap": b"".join(put(n) + take for n in lengths * 6),
        "flips": 5 * put(100) + b"".join(struct.pack(">BHB", 6, i * 13, i % 8) for i in range(20)),
        "ends": 9 * put(200) + b"".join(struct.pack(">BBQ", 7, i % 2, n) for i, n in enumerate(ends)),
    }


def asked() -> dict[str, bytes]:
    """serve.c: a findings.json, a query or a host behind one byte."""
    findings = (b'{"schema":"backprobe.findings/1","end":"finished","steps":{"first":0,"last":41},'
                b'"loss":{"last":0.5},"findings":[{"problem":"vanishing-gradient","severity":"error",'
                b'"open":true,"consequences":[]}]}')
    run = b"/api/runs/0123456789abcdef"
    events = b"/api/events?run=0123456789abcdef&run=fedcba9876543210"
    return {
        "findings": b"0" + findings,
        "findings_odd": b"0" + findings.replace(b"0.5", b'"-Infinity"').replace(b"41", b"null"),
        "findings_cut": b"0" + findings[:150],
        "tile": b"1" + run + b"/tile?series=gradient_rms&first=0&last=999&columns=800",
        "histogram": b"1" + run + b"/histogram?role=gradient&layer=7",
        "events": b"1" + events,
        "door": b"1/?token=0123456789abcdef0123456789abcdef",
        "traversal": b"1" + run + b"/../../%2e%2e?series=..%2f",
        "host": b"2127.0.0.1:6336",
        "host_name": b"2box.example:8443",
        "host_six": b"2[fe80::1]:6336",
    }


def main() -> None:
    for reader, files in seeds().items():
        folder = HERE / reader
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
