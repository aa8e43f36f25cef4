# SPDX-License-Identifier: Apache-2.0
"""Random NPY and NPZ files, good and spoilt, read by NumPy and by us: npy_against_numpy.py
DUMP_ARRAYS [FILES [SEED]].

What np.load(allow_pickle=False) refuses, we refuse; what we accept has NumPy's shape and numbers.
Good files of our types are accepted by both. We refuse on purpose what NumPy may accept:
- types other than bool, integers of 1 to 8 bytes and floats of 2, 4 and 8 bytes; more than 8 sizes;
- headers in other Python than NumPy itself writes, but for spaces, quotes and commas: a key twice,
  1_000, 3L, comments, escapes, prefixed or joined texts, space before the brace;
- archives with a damaged checksum, a name twice, bytes before them or between the directory and the
  end, methods other than stored and deflated: NumPy reads some of them, the damage unseen.
"""

import collections
import io
import math
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile

import numpy as np

TYPES = ["|b1", "|u1", "|i1", *(o + k for o in "<>" for k in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"))]
ODD_DESCRS = ["|O", "<c8", "<U3", "|S4", "<M8[s]", "|V2", "<f16", "<i3", "f4", "=f4", "|f4", "!f4", "?", "float32", "<f1",
              "<b1", "", "<", "f", "<f4 ", " <f4", "<i", "<i10", ">>i4", "<e", "u1,u1", "<f8\\n", "b", "i1", "|i4", "<u16", "<g"]
ODD_SHAPES = ["(-1,)", "(2, -3)", "(3)", "(2 3)", "(,)", "(2,,3)", "[2, 3]", "2", "(2., 3)", "(True, 3)", "(02, 3)", "(00,)",
              "(+2,)", "(1_0,)", "(2L, 3L)", "(9223372036854775807,)", "(9223372036854775808,)", "(4294967296, 4294967296)",
              "(4611686018427387904, 4)", "(0, 4611686018427387904)", "(2305843009213693952, 0)", "(0, 9223372036854775807, 2)",
              "(1, 1, 1, 1, 1, 1, 1, 1)", "(1, 1, 1, 1, 1, 1, 1, 1, 1)", "(2, 3", "2, 3)", "((2, 3))", "(2, (3,))", "(2, None)",
              "()", "(0,)", "(0x2, 3)", "(1e1,)", "('2', 3)", "(99999999999999999999999999,)"]
ODD_TOKENS = ["", " ", ",", ",,", ":", "'", '"', "\\", "\n", "\r", "\t", "\0", "#", "(", ")", "{", "}", "b'", "True", "False", "None",
              "0", "1", "-", "L", "\xe9", "  ", "descr", "'x': 1, ", "'shape': (1,), ", "\f", "\n  ", "''", "and", "+", "_"]
ODD_WORDS = ["true", "0", "1", "None", "'False'", "not True", "Falsee", "True False", "(True)", "False,", "False or True"]


def shape_of(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))))


def header(descr: str, fortran: str, shape: str, rng: random.Random) -> str:
    q = [rng.choice("'\"") for _ in range(3)]
    pairs = [f"{q[0]}descr{q[0]}: '{descr}'", f"{q[1]}fortran_order{q[1]}: {fortran}", f"{q[2]}shape{q[2]}: {shape}"]
    if rng.random() < 0.3:
        rng.shuffle(pairs)
    space = rng.choice((" ", " ", "", "  ", "\t", "\n"))
    return "{" + f",{space}".join(pairs) + rng.choice((", }", "}", ",}", " , }", " }"))


def frame(text: str, data: bytes, rng: random.Random, spoil: bool) -> bytes:
    major = rng.choice((1, 1, 1, 2, 3))
    coded = text.encode("utf-8" if major == 3 else "latin1", "replace")
    prefix = 10 if major == 1 else 12
    coded += b" " * (-(len(coded) + 1 + prefix) % rng.choice((1, 16, 64))) + b"\n"
    length, minor = len(coded), 0
    if spoil and rng.random() < 0.1:
        length = max(0, min(65535, length + rng.choice((-65, -2, -1, 1, 2, 64, 20000))))
    if spoil and rng.random() < 0.05:
        major, minor = rng.choice(((0, 0), (4, 0), (1, 1), (2, 1), (255, 0)))
    if spoil and rng.random() < 0.03: # long headers
        coded += b" " * rng.choice((9900, 10001))
        length = len(coded)
    return b"\x93NUMPY" + bytes((major, minor)) + struct.pack("<I" if major in (2, 3) else "<H", length) + coded + data


def npy(rng: random.Random, spoil: bool) -> bytes:
    descr, shape = rng.choice(TYPES), shape_of(rng)
    text, fortran = str(shape), rng.choice(("True", "False"))
    size = math.prod(shape) * int(descr[2])
    data = rng.randbytes(size)
    if descr == "|b1":
        data = bytes(b & 1 for b in data)
    kind = rng.randrange(8) if spoil else -1
    if kind == 0:
        descr = rng.choice(ODD_DESCRS)
    elif kind == 1:
        text = rng.choice(ODD_SHAPES)
        data = rng.randbytes(rng.choice((0, 8, 48, 400)))
    elif kind == 2:
        fortran = rng.choice(ODD_WORDS)
    elif kind == 3:
        data = data[: rng.randrange(len(data) + 1)]
    elif kind == 4:
        data += rng.randbytes(rng.randrange(1, 9))
    words = header(descr, fortran, text, rng)
    if kind in (5, 6):
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(words) + 1)
            words = words[:at] + rng.choice(ODD_TOKENS) + words[at + rng.choice((0, 0, 1, 2)):]
    if kind == 6 and rng.random() < 0.3:
        words = rng.choice((" ", "\t", "\n", "\r\n", "\n ", "  ")) + words
    whole = frame(words, data, rng, kind == 7)
    return spoil_bytes(whole, rng, 100) if spoil and rng.random() < 0.15 else whole


def spoil_bytes(whole: bytes, rng: random.Random, reach: int) -> bytes:
    changed = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not changed:
            break
        at = rng.randrange(min(reach, len(changed)))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.choice((0, 1, 255, 32, 80))
        elif kind == 2:
            del changed[at : at + rng.choice((1, 1, 2, 40))]
        elif kind == 3:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 22)))
        else:
            del changed[at:]
    return bytes(changed)


def npz(rng: random.Random, spoil: bool) -> bytes:
    out = io.BytesIO()
    names = ["X.npy"] + rng.sample(["y.npy", "Z.npy", "notes.txt", "\xe9.npy"], rng.randrange(3))
    rng.shuffle(names)
    if spoil and rng.random() < 0.1:
        names.append("X.npy")
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            with archive.open(info, "w", force_zip64=rng.random() < 0.3) as member:
                member.write(npy(rng, spoil and rng.random() < 0.2))
        if rng.random() < 0.2:
            archive.comment = rng.choice((b"words", rng.randbytes(30)))
        if spoil and rng.random() < 0.1: # is it the end of the archive, or of its comment?
            archive.comment = rng.choice((b"PK\5\6", b"PK\5\6" + bytes(18)))
    whole = out.getvalue()
    if not spoil:
        return whole
    kind = rng.randrange(6)
    if kind == 0: # the directory and the end
        tail = whole.rfind(b"PK\1\2" if rng.random() < 0.7 else b"PK\5\6")
        return whole[:tail] + spoil_bytes(whole[tail:], rng, 90)
    if kind == 1: # a field of it set to what is at home at the border
        changed = bytearray(whole)
        start = whole.find(b"PK\1\2")
        at = start + rng.randrange(len(whole) - start)
        width = rng.choice((1, 2, 4))
        changed[at : at + width] = rng.choice((b"\xff", b"\0", b"\1")) * width
        return bytes(changed)
    if kind == 2: # two that point to one place
        changed = bytearray(whole)
        starts = [i for i in range(len(whole)) if whole[i : i + 4] == b"PK\1\2"]
        a, b = rng.choice(starts), rng.choice(starts)
        changed[a + 42 : a + 46] = whole[b + 42 : b + 46]
        return bytes(changed)
    if kind == 3:
        return rng.choice((rng.randbytes(9), b"PK\3\4", b"PK")) + whole
    if kind == 4:
        return whole + rng.choice((rng.randbytes(9), b"PK\5\6", b"\0", whole[-22:]))
    return spoil_bytes(whole, rng, len(whole))


def read_by_numpy(path: pathlib.Path) -> np.ndarray | None:
    try:
        loaded = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                return None
            with loaded:
                loaded = loaded["X"]
        return loaded if isinstance(loaded, np.ndarray) else None
    except Exception: # of which NumPy has many kinds for bad files
        return None


def same(line: str, array: np.ndarray) -> bool:
    words = line.split()
    n = int(words[1])
    if tuple(map(int, words[2 : 2 + n])) != array.shape:
        return False
    found = [float.fromhex(word) for word in words[2 + n :]]
    if array.size == 0: # its other sizes may be too large for float64
        return not found
    with np.errstate(all="ignore"):
        expected = array.astype(np.float64).ravel(order="C")
    return np.array_equal(np.array(found, dtype=np.float64), expected, equal_nan=True)


def main() -> int:
    dump, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = random.Random(seed)
    warnings.simplefilter("ignore")
    faults, tally, refused = [], collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        paths, good = [], []
        for i in range(n):
            archive, spoil = rng.random() < 0.4, rng.random() < 0.8
            path = pathlib.Path(folder) / f"{i}.{'npz' if archive else 'npy'}"
            path.write_bytes((npz if archive else npy)(rng, spoil))
            paths.append(path)
            good.append(not spoil)
        result = subprocess.run([dump], input="".join(f"{path}\n" for path in paths), capture_output=True, text=True,
                                errors="replace", check=True)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)) # for shapes that lie about their size
        lines = result.stdout.splitlines()
        if len(lines) != n:
            faults.append(f"{len(lines)} answers to {n} files")
        for path, line, is_good in zip(paths, lines, good):
            array, accepted = read_by_numpy(path), line.startswith("yes")
            tally[(array is not None, accepted)] += 1
            if accepted and array is None:
                faults.append(f"accepted, but NumPy refuses: {path.read_bytes()[:400]!r}")
            elif accepted and not same(line, array):
                faults.append(f"other numbers than NumPy's {array!r}: {line[:200]}: {path.read_bytes()[:200]!r}")
            elif is_good and not (accepted and array is not None):
                faults.append(f"a good file is refused: {line[:200]}: {path.read_bytes()[:400]!r}")
            elif array is not None and not accepted:
                refused[line.split(": ", 1)[-1][:60]] += 1
    for numpy_accepts, accepted in sorted(tally):
        print(f"NumPy {'accepts' if numpy_accepts else 'refuses'}, we {'accept' if accepted else 'refuse'}: "
              f"{tally[numpy_accepts, accepted]}")
    for words, count in refused.most_common(12):
        print(f"  refused by us alone: {count} x {words}")
    for fault in faults[:20]:
        print(fault)
    if not all(tally[key] > n // 50 for key in ((True, True), (False, False))):
        faults.append("hardly a good or hardly a bad file: this compares nothing")
        print(faults[-1])
    print(f"{n - len(faults)} passed, {len(faults)} failed")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
