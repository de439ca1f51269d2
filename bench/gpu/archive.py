"""Programs of a build in one file, for a machine that has their GPU and not their build: stripped, with the libraries that few have."""

import lzma
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

COMMON = r"linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)\.so"


def libraries_of(program):
    """Those a program is linked with that are not of every Linux."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    return [pathlib.Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", said) if not re.match(COMMON, name)]


def pack(programs, commit, to):
    """Writes an archive that --build takes. Returns its size in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "lib").mkdir()
        (folder / "commit").write_text(commit + "\n")
        for program in programs:
            copy = folder / program.parent.name / program.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copy2(program, copy)
            if shutil.which("strip"):
                subprocess.run(["strip", str(copy)], check=True)
            for library in libraries_of(program):
                shutil.copy2(library.resolve(), folder / "lib" / library.name)
        # The programs hold one library each, so what repeats is far apart.
        size = sum(path.stat().st_size for path in folder.glob("*/*"))
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": min(max(size, 1 << 20), 128 << 20)}]
        with lzma.open(to, "wb", filters=filters) as file, tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
    return pathlib.Path(to).stat().st_size
