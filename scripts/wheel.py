#!/usr/bin/env python3
"""A wheel that holds the binary: `pip install` puts `vitalake` on the PATH, as other tools in Rust do.

    wheel.py BINARY FOLDER

The wheel is for any Python 3 and for the machines that the binary runs on: its tag says the glibc that the binary asks
for (PEP 600), or this machine's kind alone where it links more than a C library. The same binary gives the same bytes.
"""

import base64
import hashlib
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What PEP 600 lets a wheel expect of a machine; the loader is named as well.
EXPECTED = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"}
AT = (1980, 1, 1, 0, 0, 0)


def tag(binary):
    """The wheel's platform, and what it links beyond that."""
    needed = set(re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", binary)))
    more = {name for name in needed - EXPECTED if not name.startswith("ld-linux")}
    machine = platform.machine()
    if more:
        return f"linux_{machine}", sorted(more)
    found = re.findall(r"GLIBC_(\d+)\.(\d+)", run("objdump", "-T", binary))
    major, minor = max((int(major), int(minor)) for major, minor in found)
    return f"manylinux_{major}_{minor}_{machine}", []


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def version():
    manifest = (ROOT / "Cargo.toml").read_text()
    return re.search(r'^version = "([^"]+)"', manifest, re.M).group(1)


def metadata(number):
    readme = (ROOT / "README.md").read_text()
    return (
        f"Metadata-Version: 2.1\nName: vitalake\nVersion: {number}\n"
        "Summary: One governed platform for wearable streams and operational batch feeds\n"
        "License: Apache-2.0\nRequires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n" + readme
    )


def line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def build(binary, folder):
    number, (where, more) = version(), tag(binary)
    name, info = f"vitalake-{number}", f"vitalake-{number}.dist-info"
    with tempfile.TemporaryDirectory() as place:
        stripped = Path(place) / "vitalake"
        run("strip", "--strip-all", "-o", stripped, binary)
        program = stripped.read_bytes()
    files = {
        f"{name}.data/scripts/vitalake": program,
        f"{info}/METADATA": metadata(number).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: vitalake\nRoot-Is-Purelib: false\nTag: py3-none-{where}\n".encode(),
        f"{info}/LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    record = "\n".join([line(path, data) for path, data in files.items()] + [f"{info}/RECORD,,", ""])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-py3-none-{where}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path, data in {**files, f"{info}/RECORD": record.encode()}.items():
            entry = zipfile.ZipInfo(path, AT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path.endswith("/vitalake") else 0o100644) << 16
            archive.writestr(entry, data)
    print(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")
    if more:
        print(f"note: the binary links {', '.join(more)}: the wheel is for machines that have them")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build(Path(sys.argv[1]), Path(sys.argv[2]))
