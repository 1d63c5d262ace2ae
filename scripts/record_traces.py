"""Record which blocks of files real programs read, for the buffer cache problem.

Needs strace, gcc, trees of C sources, and a Python that has its test suite:

    python scripts/record_traces.py --output DIR \\
        --tree a=LUA --tree b=BROTLI --tree c=CMARK --tree d=ZSTD

The shipped traces were recorded on C sources from source packages of PyPI; the searches name what
is in them. No two runs of a kind of program share a tree or a module:

    a   Lua 5.1 and 5.4: directories `lua51` and `lua54` of `lupa` 2.8
    b   Brotli: the contents of `c` of `brotli` 1.2.1
    c   cmark: the contents of `third_party/cmark`, and `generated/unix`, of `cmarkgfm` 2025.10.22
    d   Zstandard: the contents of `internal-complibs/zstd-1.5.6` of `blosc` 1.11.4

Each kind of program runs once on each tree (the tests: modules instead of a tree), so that what is
trained on some runs is reported on another:

    compile   every C file of the tree, compiled one after the other by gcc
    search    a series of grep, wc, tar and diff over the tree
    database  sqlite with a 40 kB cache of its own: the tree's words are loaded, indexed, queried
    tests     modules of Python's own test suite, each in a Python process of its own
    mixed     compile, search and database of the same tree at the same time

`strace -f -y` writes down open, lseek, read, pread64 and what passes descriptors on; from these
the offset of each read of a regular file follows. Reads through mmap are not seen. A trace is
one line a read, `file offset length` (offset and length in bytes), with files numbered in the
order of their first read: names never leave this script. The first REFERENCES block references
(see workers/problems/file_system/problem.py) of a run are kept, whatever they are; the problem
uses the first 4,500 of them at most.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK_BYTES = 4096
REFERENCES = 6_500
TRACED = "read,pread64,lseek,open,openat,close,dup,dup2,dup3,fcntl,clone,clone3,fork,vfork"
NOT_FILES = ("/proc/", "/dev/", "/sys/")

COMPILE = r"""
cd "$TREE"
flags=$(find . -name '*.h' -printf '-I%h\n' | sort -u | tr '\n' ' ')
for source in $(find . -name '*.c' | sort); do
    gcc -O1 $flags -c "$source" -o "$SCRATCH/object.o" 2>>"$SCRATCH/compile.log"
done
"""
SEARCH_A = r"""
cd "$TREE"
grep -rn 'lua_State' --include='*.h' . | wc -l
for word in luaH_get luaV_execute luaC_step; do grep -rn "$word" . | wc -l; done
wc -l $(find . -name '*.c')
grep -rl 'setjmp' .
tar cf "$SCRATCH/tree.tar" .
diff -r lua51 lua54 | wc -l
for word in luaM_realloc TODO strchr; do grep -rnw "$word" . | wc -l; done
tar czf "$SCRATCH/headers.tar.gz" $(find . -name '*.h')
for word in upvalue metatable; do grep -rni "$word" lua54 | wc -l; done
"""
SEARCH_B = r"""
cd "$TREE"
for word in BROTLI_BOOL Huffman; do grep -rn "$word" --include='*.h' . | wc -l; done
tar cf "$SCRATCH/tree.tar" .
grep -rnw 'memcpy' . | wc -l
diff -r enc dec | wc -l
grep -rc 'static' enc | sort -t: -k2 -n | tail -3
for word in ringbuffer FIXME malloc; do grep -rni "$word" . | wc -l; done
wc -c $(find . -name '*.[ch]')
grep -rl 'Copyright 2013' .
for word in kBrotli size_t; do grep -rnw "$word" dec common include | wc -l; done
sort -u $(find enc -name '*.h') | wc -l
for word in Zopfli quality; do grep -rni "$word" . | wc -l; done
tar czf "$SCRATCH/headers.tar.gz" $(find . -name '*.h')
grep -rc 'TODO' .
"""
SEARCH_C = r"""
cd "$TREE"
wc -l $(find src -name '*.h')
for word in cmark_parser strbuf_put; do grep -rn "$word" . | wc -l; done
sort $(find extensions -name '*.c') | uniq -c | sort -n | tail -3
grep -rlw 'realloc' .
diff -r src extensions | wc -l
for word in houdini GFM cmark_node; do grep -rni "$word" src | wc -l; done
tar czf "$SCRATCH/extensions.tar.gz" extensions
grep -rn 'static' --include='*.c' . | wc -l
for word in FIXME unescape; do grep -rnw "$word" . | wc -l; done
wc -w $(find . -name '*.[ch]')
tar cf "$SCRATCH/tree.tar" .
grep -rc 'bufsize_t' . | sort -t: -k2 -n | tail -3
"""
SEARCH_D = r"""
cd "$TREE"
grep -rlw 'TODO' .
for word in MEM_read ZSTD_CCtx; do grep -rn "$word" --include='*.c' . | wc -l; done
tar cf "$SCRATCH/common.tar" common decompress
wc -l $(find . -name '*.h')
for word in HUF_ assert; do grep -rnw "$word" common decompress | wc -l; done
diff -r compress decompress | wc -l
grep -rc 'FSE_' . | sort -t: -k2 -n | tail -3
for word in offcode litlength repcode; do grep -rni "$word" compress | wc -l; done
tar czf "$SCRATCH/headers.tar.gz" $(find . -name '*.h')
grep -rn 'legacy' . | wc -l
sort -u $(find dictBuilder -name '*.c') | wc -l
"""
DATABASE = r"""
import pathlib, re, sqlite3, sys
tree, scratch = map(pathlib.Path, sys.argv[1:])
base = sqlite3.connect(scratch / "words.db", isolation_level=None)
base.execute("pragma cache_size = 10")
base.execute("pragma journal_mode = off")
base.execute("create table file (id integer primary key, name text, bytes integer)")
base.execute("create table word (text text, file integer, line integer)")
sources = sorted(p for p in tree.rglob("*.[ch]") if p.is_file())
lines = [p.read_text("utf-8", "replace").splitlines() for p in sources]
base.execute("begin")
for number, (path, text) in enumerate(zip(sources, lines)):
    base.execute("insert into file values (?, ?, ?)", (number, path.name, path.stat().st_size))
    base.executemany("insert into word values (?, ?, ?)", (
        (word, number, line) for line, content in enumerate(text[:120])
        for word in re.findall(r"[A-Za-z_]\w{3,}", content)))
base.execute("create index by_text on word (text)")
base.execute("commit")
for number, text in enumerate(lines):
    for word in re.findall(r"[A-Za-z_]\w{3,}", " ".join(text[5:40]))[:12]:
        base.execute("select name, line from word join file on file.id = word.file"
                     " where text = ? limit 20", (word,)).fetchall()
    if number % 40 == 20:
        base.execute("select file, count(*) from word group by file").fetchall()
"""
TESTS_A = (
    "test_textwrap test_json test_heapq test_shlex test_csv test_configparser test_string "
    "test_difflib test_bisect test_fractions test_html test_copy test_calendar test_enum"
)
TESTS_B = (
    "test_statistics test_email.test_message test_dataclasses test_colorsys test_gettext "
    "test_netrc test_plistlib test_pprint test_random test_reprlib test_struct test_typing "
    "test_urlparse test_zipfile"
)
TESTS_C = (
    "test_ast test_base64 test_cmd test_collections test_contextlib test_fnmatch test_functools "
    "test_glob test_hmac test_ipaddress test_operator test_optparse test_tokenize test_traceback"
)
TESTS_D = (
    "test_abc test_binascii test_codeop test_itertools test_keyword test_pickle test_queue "
    "test_quopri test_sched test_secrets test_set test_uuid test_weakref test_xml_etree"
)
RUNS = {
    "a": (SEARCH_A, TESTS_A),
    "b": (SEARCH_B, TESTS_B),
    "c": (SEARCH_C, TESTS_C),
    "d": (SEARCH_D, TESTS_D),
}
TESTS = '\nfor name in {names}; do "$PYTHON" -m unittest -q test.$name >/dev/null 2>&1; done\n'


@dataclass
class Description:
    """An open file description: its position is shared by all descriptors duplicated from it."""

    position_bytes: int = 0


@dataclass
class Reads:
    """The state of a traced process tree, and the reads seen so far."""

    tables: dict[int, dict[int, Description]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    def description(self, pid: int, descriptor: int) -> Description:
        return self.tables.setdefault(pid, {}).setdefault(descriptor, Description())


LINE = re.compile(r"^(\d+)\s+(?:[\d.]+\s+)?(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)(.*)$")
DESCRIPTOR = re.compile(r"^(\d+)<(.*?)>")


def whole_calls(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(pid, call) for each call that finished, with interrupted lines put together again."""
    unfinished: dict[int, str] = {}
    for line in lines:
        match = LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        pid, text = int(match[1]), match[2]
        if text.endswith("<unfinished ...>"):
            unfinished[pid] = text.removesuffix("<unfinished ...>").rstrip()
        elif text.startswith("<... "):
            yield pid, unfinished.pop(pid, "") + text.partition(" resumed>")[2]
        else:
            yield pid, text


def reads_of(lines: Iterable[str]) -> Iterator[tuple[int, int, int]]:
    """(file, offset, length) of each read of a regular file; bytes, files numbered from 0."""
    state = Reads()
    for pid, text in whole_calls(lines):
        call = CALL.match(text)
        if call is None or int(call[3]) < 0:
            continue
        name, arguments, result = call[1], call[2], int(call[3])
        target = DESCRIPTOR.match(arguments)
        if name in ("read", "pread64"):
            if target is None or not is_file(target[2]) or result == 0:
                continue
            offset = read_offset(state, pid, name, arguments, int(target[1]), result)
            number = state.files.setdefault(target[2], len(state.files))
            yield number, offset, result
        else:
            follow(state, pid, name, arguments, result)


def is_file(path: str) -> bool:
    return path.startswith("/") and not path.startswith(NOT_FILES)


def read_offset(
    state: Reads, pid: int, name: str, arguments: str, descriptor: int, length: int
) -> int:
    """Where a read began, in bytes; moves the position of the description on."""
    if name == "pread64":
        return int(arguments.rpartition(",")[2])
    description = state.description(pid, descriptor)
    offset = description.position_bytes
    description.position_bytes += length
    return offset


def follow(state: Reads, pid: int, name: str, arguments: str, result: int) -> None:
    """Keep the descriptor tables as the kernel does."""
    table = state.tables.setdefault(pid, {})
    target = DESCRIPTOR.match(arguments)
    if name in ("open", "openat"):
        table[result] = Description()
    elif name in ("clone", "clone3", "fork", "vfork"):
        state.tables[result] = table if "CLONE_FILES" in arguments else dict(table)
    elif target is None:
        return
    elif name == "close":
        table.pop(int(target[1]), None)
    elif name == "lseek":
        state.description(pid, int(target[1])).position_bytes = result
    elif name.startswith("dup") or "F_DUPFD" in arguments:
        table[result] = state.description(pid, int(target[1]))


def keep_references(reads: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The first reads that together refer to REFERENCES blocks, immediate repeats not counted."""
    kept, references, last = [], 0, (-1, -1)
    for file, offset, length in reads:
        first, final = offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES
        references += final - first + 1 - (last == (file, first))
        last = (file, final)
        kept.append((file, offset, length))
        if references >= REFERENCES:
            break
    return kept


def record(script: str, tree: Path, scratch: Path) -> list[tuple[int, int, int]]:
    """Run a shell script under strace and return the reads kept."""
    log = scratch / "strace.log"
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "TREE": str(tree),
        "SCRATCH": str(scratch),
        "PYTHON": sys.executable,
    }
    command = ["strace", "-f", "-qq", "-y", "-s0", "-e", f"trace={TRACED}", "-e", "signal=none"]
    shell = ["-o", str(log), "sh", "-c", script]
    subprocess.run(command + shell, env=environment, stdout=subprocess.DEVNULL, check=False)
    with log.open(encoding="utf-8", errors="replace") as lines:
        return keep_references(reads_of(lines))


def recipes() -> dict[str, str]:
    """The shell script of each recording, by name; a name's last letter is that of its tree."""
    database = '\n"$PYTHON" "$SCRATCH/database.py" "$TREE" "$SCRATCH"\n'
    scripts = {}
    for run, (search, names) in RUNS.items():
        scripts[f"compile-{run}"] = COMPILE
        scripts[f"search-{run}"] = search
        scripts[f"database-{run}"] = database
        scripts[f"tests-{run}"] = TESTS.format(names=names)
        scripts[f"mixed-{run}"] = f"({COMPILE}) & ({search}) & ({database}) & wait"
    return scripts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tree",
        action="append",
        required=True,
        type=lambda given: given.partition("=")[::2],
        metavar="RUN=DIR",
        help="C sources for the runs of that letter, e.g. a=lua; others are not recorded",
    )
    parser.add_argument("--output", type=Path, required=True, help="directory for NAME.gz")
    parser.add_argument("--only", nargs="*", help="names to record, e.g. compile-a")
    arguments = parser.parse_args()
    trees = {run: Path(directory) for run, directory in arguments.tree}
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, script in recipes().items():
        tree = trees.get(name[-1])
        if tree is None or (arguments.only and name not in arguments.only):
            continue
        scratch = Path(tempfile.mkdtemp(prefix="record-"))
        (scratch / "database.py").write_text(DATABASE, encoding="utf-8")
        try:
            reads = record(script, tree.resolve(), scratch)
        finally:
            shutil.rmtree(scratch)
        text = "".join(f"{file} {offset} {length}\n" for file, offset, length in reads)
        packed = gzip.compress(text.encode("ascii"), mtime=0)
        (arguments.output / f"{name}.gz").write_bytes(packed)
        print(f"{name}: {len(reads)} reads, {len(packed)} bytes compressed", flush=True)


if __name__ == "__main__":
    main()
