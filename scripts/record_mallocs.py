"""Record the sizes and lifetimes of objects that real programs allocate, for the allocator problem.

Needs Linux with glibc, gcc, git, perl, trees of C sources, and a Python:

    python scripts/record_mallocs.py --output DIR \\
        --tree a=LUA --tree b=BROTLI --tree c=CMARK --tree d=ZSTD

The trees are those of `scripts/record_traces.py`, which names them. Each kind of program runs once
on each tree, so that what is trained on some runs is reported on another; no two runs of a kind
share a tree:

    compile   the largest C file of the tree, compiled by gcc -O2
    history   the tree is changed by sed, and git diff shows by words what changed
    words     perl counts the words of the tree and where they are, and prints them by frequency
    script    Python indexes the tree, 100 lines at a time (its own allocator is switched off)

A library that is loaded before all others (LD_PRELOAD) stands for malloc, calloc, realloc, free
and the like, and writes down what each call freed and made. Of all processes that a program starts
the one that made the most calls is kept. These parts of a run are kept, by one rule for all:

- Objects from a third of all on, because programs begin alike whatever they work on.
- No object that was free again before SHORT others were made: in any allocator such objects lie in
  one place in turn. They are most of all objects.
- No object of LARGEST bytes or more: those glibc maps by themselves.
- Of what is left the first OBJECTS, with those of their ends that come before the last of them is
  made. What is older is in none of them.

A realloc is a new object, and then the end of the old one. A recording is one whole number a line:
the size of an object that is made, in bytes, or -n: of the objects made so far the n-th last is no
more. No names and no addresses are kept.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OBJECTS = 2_000
SHORT = 16
LARGEST = 128 * 1024
CALL = struct.Struct("<3Q")

LIBRARY = r"""
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALLS 4096

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static struct { uint64_t freed, size, made; } calls[CALLS];
static unsigned count;
static pid_t owner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void write_out(void) {
    char path[4096];
    const char *directory = getenv("MALLOCS");
    if (directory && count) {
        snprintf(path, sizeof path, "%s/%d", directory, (int)owner);
        int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 || write(file, calls, count * sizeof *calls) < 0) abort();
        close(file);
    }
    count = 0;
}

static void note(void *freed, size_t size, void *made) {
    int error = errno;
    pthread_mutex_lock(&lock);
    if (owner != getpid()) count = 0, owner = getpid(); /* a fork begins anew */
    calls[count].freed = (uintptr_t)freed;
    calls[count].size = size;
    calls[count++].made = (uintptr_t)made;
    if (count == CALLS) write_out();
    pthread_mutex_unlock(&lock);
    errno = error;
}

void *malloc(size_t size) {
    void *made = __libc_malloc(size);
    if (made) note(NULL, size, made);
    return made;
}

void *calloc(size_t number, size_t size) {
    void *made = __libc_calloc(number, size);
    if (made) note(NULL, number * size, made);
    return made;
}

void *realloc(void *old, size_t size) {
    void *made = __libc_realloc(old, size);
    if (made || !size) note(old, size, made);
    return made;
}

void *memalign(size_t alignment, size_t size) {
    void *made = __libc_memalign(alignment, size);
    if (made) note(NULL, size, made);
    return made;
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **made, size_t alignment, size_t size) {
    *made = memalign(alignment, size);
    return *made ? 0 : ENOMEM;
}

void free(void *old) {
    if (old) note(old, 0, NULL);
    __libc_free(old);
}

__attribute__((destructor)) static void finish(void) {
    if (owner == getpid()) write_out();
}
"""
COMPILE = r"""
cd "$TREE"
flags=$(find . -name '*.h' -printf '-I%h\n-I%h/..\n' | sort -u | tr '\n' ' ')
largest=$(find . -name '*.c' -printf '%s %p\n' | sort -n | tail -1 | cut -d ' ' -f 2)
recorded gcc -O2 $flags -c "$largest" -o "$SCRATCH/object.o"
"""
HISTORY = r"""
cp -r "$TREE" "$SCRATCH/tree"
cd "$SCRATCH/tree"
git init -q
git add -A
sed -i 's/int/long/g; /return/d' $(find . -name '*.c')
recorded git diff -M --stat -p --word-diff
"""
WORDS = r"""
cat >"$SCRATCH/words.pl" <<'END'
while (<>) {
    for my $word (/[A-Za-z_]\w+/g) { $count{$word}++; push @{$lines{$word}}, $. }
}
for my $word (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count) {
    print "$word $count{$word} @{$lines{$word}}[0..2]\n";
    delete $lines{$word};
}
END
find "$TREE" -name '*.[ch]' | sort | xargs cat >"$SCRATCH/all"
PERL_HASH_SEED=0 recorded perl "$SCRATCH/words.pl" "$SCRATCH/all"
"""
SCRIPT = r"""
cat >"$SCRATCH/index.py" <<'END'
import collections, json, pathlib, re, sys
index = collections.defaultdict(list)
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.[ch]")):
    lines = path.read_text("utf-8", "replace").splitlines()
    for begin in range(0, len(lines), 100):
        part = enumerate(lines[begin : begin + 100], begin)
        words = [(n, word) for n, line in part for word in re.findall(r"\w+", line)]
        counts = collections.Counter(word for _, word in words)
        first = {word: n for n, word in reversed(words)}
        for word, count in counts.most_common(5):
            index[word].append((path.name, count, first[word]))
        json.loads(json.dumps({"path": path.name, "begin": begin, "counts": counts}))
END
PYTHONMALLOC=malloc PYTHONHASHSEED=0 recorded "$PYTHON" -S "$SCRATCH/index.py" "$TREE"
"""
RECORDED = 'recorded() { MALLOCS="$CALLS" LD_PRELOAD="$LIBRARY" "$@"; }\n'
SCRIPTS = {"compile": COMPILE, "history": HISTORY, "words": WORDS, "script": SCRIPT}
RUNS = "abcd"

Call = tuple[int, int, int]
"""The address that was freed (0: none), a size in bytes, the address that was made (0: none)."""


@dataclass
class Object:
    """An object of a run; times are counts of objects that were made before."""

    size_bytes: int
    made: int
    freed: int | None = None

    def is_kept(self) -> bool:
        lasts = self.freed is None or self.freed - self.made > SHORT
        return lasts and self.size_bytes < LARGEST


def objects_of(calls: Iterable[Call]) -> list[Object]:
    """All objects of a run, in the order in which they were made."""
    objects: list[Object] = []
    live: dict[int, Object] = {}
    for freed, size_bytes, made in calls:
        old = live.pop(freed, None)
        if made:
            live[made] = Object(max(1, size_bytes), len(objects))
            objects.append(live[made])
        if old is not None:
            old.freed = len(objects)
    return objects


def events_of(objects: list[Object]) -> Iterator[int]:
    """The numbers of a recording: of the part of a run that is kept."""
    kept = [one for one in objects[len(objects) // 3 :] if one.is_kept()][:OBJECTS]
    ends = sorted(
        (one.freed, place)
        for place, one in enumerate(kept)
        if one.freed is not None and one.freed <= kept[-1].made
    )
    gone = 0
    for count, one in enumerate(kept):
        while gone < len(ends) and ends[gone][0] <= one.made:
            yield ends[gone][1] - count
            gone += 1
        yield one.size_bytes


def record(script: str, tree: Path, library: Path, scratch: Path) -> list[int]:
    """Run a shell script, and return what is kept of its largest process."""
    calls = scratch / "calls"
    calls.mkdir()
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "HOME": str(scratch),
        "TREE": str(tree),
        "SCRATCH": str(scratch),
        "CALLS": str(calls),
        "LIBRARY": str(library),
        "PYTHON": sys.executable,
    }
    command = ["sh", "-c", RECORDED + script]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    largest = max(calls.iterdir(), key=lambda file: file.stat().st_size)
    return list(events_of(objects_of(CALL.iter_unpack(largest.read_bytes()))))


def build(directory: Path) -> Path:
    """The library that is loaded before all others."""
    source, library = directory / "mallocs.c", directory / "mallocs.so"
    source.write_text(LIBRARY, encoding="utf-8")
    command = ["gcc", "-O2", "-shared", "-fPIC", "-fno-builtin", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return library


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
    parser.add_argument("--output", type=Path, required=True, help="directory for mallocs-NAME.gz")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="record-"))
    try:
        library = build(scratch)
        for run, directory in arguments.tree:
            for kind, script in SCRIPTS.items():
                name = f"mallocs-{kind}-{run}"
                (scratch / name).mkdir()
                tree = Path(directory).resolve()
                events = record(script, tree, library, scratch / name)
                text = "".join(f"{event}\n" for event in events)
                packed = gzip.compress(text.encode("ascii"), mtime=0)
                (arguments.output / f"{name}.gz").write_bytes(packed)
                print(f"{name}: {len(events)} events, {len(packed)} bytes compressed", flush=True)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
