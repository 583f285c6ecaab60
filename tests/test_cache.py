"""The disk cache: what is found again, what is not, and that nothing that happens to the files is
more than a compilation anew."""

from __future__ import annotations

import ast
import errno
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.store as store_module
import jitgraph.tensor as T
from jitgraph import cache as command
from jitgraph.codegen import generator as generators
from jitgraph.codegen import objects
from jitgraph.codegen.target import host
from jitgraph.errors import OptionError, ShapeError
from jitgraph.store import Entry, Store, fingerprint, location, store

KEY = fingerprint("key")
ENTRY = Entry({"kind": "test", "name": "entry"}, (b"first object", b"", b"second"))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, switched on."""
    path = tmp_path / "cache"
    monkeypatch.setenv("JITGRAPH_CACHE_DIR", str(path))
    with jg.config.override(cache=True):
        yield path


@pytest.fixture
def shelf(directory: Path) -> Store:
    made = store()
    assert made is not None
    return made


def was_found(f: Any) -> bool:
    return "llvm" not in f.compilation.times


def simple() -> Any:
    """A compiled function, anew each time."""
    x, y = T.dvectors("x", "y")
    return jg.function([x, y], x * y + x)


def gives_right_results(f: Any) -> bool:
    x, y = np.arange(5.0), np.linspace(1, 2, 5)
    return bool(np.array_equal(f(x, y), x * y + x))


# --- what is found ------------------------------------------------------------------------------
def programs() -> dict[str, Callable[[], Any]]:
    """Pairwise different programs, each a little different from the first."""
    x, y, z = T.dvector("x"), T.dvector("y"), T.fvector("z")
    fixed, square = T.dvector("x", shape=(3,)), T.dmatrix("x")
    table = np.arange(100.0)
    return {
        "first": lambda: jg.function([x, y], x * y + 2),
        "constant": lambda: jg.function([x, y], x * y + 3),
        "last bit of a constant": lambda: jg.function([x, y], x * y + np.nextafter(2, 3)),
        "sign of zero": lambda: jg.function([x, y], x * y + -0.0, algebra="ieee"),
        "zero": lambda: jg.function([x, y], x * y + 0.0, algebra="ieee"),
        "order of inputs": lambda: jg.function([y, x], x * y + 2 * x),
        "inputs in order": lambda: jg.function([x, y], x * y + 2 * x),
        "dtype": lambda: jg.function([z, y], z * y + 2),
        "algebra": lambda: jg.function([x, y], x * y + 2, algebra="ieee"),
        "list": lambda: jg.function([x, y], [x * y + 2]),
        "none": lambda: jg.function([x], [], on_unused_input="ignore"),
        "nothing": lambda: jg.function([x], None, on_unused_input="ignore"),
        "long constant": lambda: jg.function([x], x + table[:, None]),
        "its last element": lambda: jg.function([x], x + np.append(table[:-1], 98)[:, None]),
        "shared": lambda: jg.function([x], x * jg.shared(np.ones(3))),
        "shared of extent 1": lambda: jg.function([x], x * jg.shared(np.ones(1))),
        "known extent": lambda: jg.function([fixed, y], fixed * y + 2),
        "axis": lambda: jg.function([square], T.sum(square, axis=0)),
        "another axis": lambda: jg.function([square], T.sum(square, axis=1)),
    }


def test_every_difference_counts(directory: Path) -> None:
    for name, program in programs().items():
        assert not was_found(program()), name
    for name, program in programs().items():
        assert was_found(program()), name


def test_layouts_are_told_apart(directory: Path) -> None:
    x, y = T.dmatrices("x", "y")
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0, 9).reshape(3, 2).T
    calls = [(a, a), (a, b), (b, a), (a[:1], a), (a[:, :1], b)]
    for found in (False, True):
        f = jg.function([x, y], x - 2 * y)
        for left, right in calls:
            np.testing.assert_array_equal(f(left, right), left - 2 * right)
        made = f._state.compilations.values()
        assert len(made) == len(calls)
        assert ["llvm" not in c.times for c in made] == [found] * len(calls)


def test_lines_names_of_locals_and_cells_do_not_count(directory: Path) -> None:
    def counter(start: float) -> tuple[Any, Any]:
        x, total = T.dvector("x"), jg.shared(np.full(3, float(start)))
        return jg.function([x], T.sum(x), updates=[(total, total + x)]), total

    first, of_first = counter(1)
    second, of_second = counter(5)
    assert (was_found(first), was_found(second)) == (False, True)
    for _ in range(2):
        assert first(np.ones(3)) == 3
    assert second(np.full(3, 2.0)) == 6
    np.testing.assert_array_equal(of_first.get_value(), [3, 3, 3])
    np.testing.assert_array_equal(of_second.get_value(), [7, 7, 7])


def test_errors_of_found_code_name_the_new_line(directory: Path) -> None:
    messages = []
    for _ in range(2):
        x, y = T.dvectors("x", "y")
        f = jg.function([x, y], x + y)
        with pytest.raises(ShapeError) as caught:
            f(np.ones(3), np.ones(4))
        messages.append(str(caught.value))
    assert was_found(f)
    assert messages[0] == messages[1]
    assert "test_cache.py" in messages[1]


def test_stages_of_found_code_are_made_when_asked_for(directory: Path) -> None:
    made, found = simple(), simple()
    assert was_found(found)
    assert not {"optimise", "schedule", "codegen"} & set(found.compilation.times)
    assert found.dump() == made.dump()


def test_a_function_wrong_for_all_inputs_is_never_kept(directory: Path) -> None:
    for _ in range(2):
        n = T.lscalar("n")
        wrong = T.zeros((n * 0 + 2,)) + T.zeros((n * 0 + 3,))  # 0 n is 0 is what a pass finds
        with pytest.raises(ShapeError):
            jg.function([n], wrong)
    assert not list(directory.glob("*.jgc"))


_FRESH = """
import sys, numpy as np, jitgraph as jg, jitgraph.tensor as T
x, y = T.dmatrices("x", "y")
f = jg.function([x, y], T.exp(T.dot(x, y)) + x, name="product")
a = np.linspace(-1, 1, 400).reshape(20, 20)
np.testing.assert_allclose(f(a, a.T), np.exp(a @ a.T) + a, rtol=1e-12)
print("llvm" in f.compilation.times, "llvmlite.binding" in sys.modules)
"""


def run_fresh(count: int) -> list[str]:
    """Run `_FRESH` in so many processes at once."""
    environment = {**os.environ, "JITGRAPH_CACHE": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", _FRESH], env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(count)
    ]  # fmt: skip
    done = [process.communicate() for process in running]
    assert [errors for _, errors in done] == [""] * count
    return [out.strip() for out, _ in done]


def test_processes_at_once_and_one_after_another(directory: Path) -> None:
    """Code of one process runs in others, with the libraries it needs; writers do not meet."""
    assert "True True" in run_fresh(4)
    compiled, loaded = run_fresh(1)[0].split()
    assert compiled == "False"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert loaded == "False"
    assert command.main(["verify"]) == 0
    assert not list(directory.glob("*.tmp"))


def test_libraries_are_built_once(directory: Path) -> None:
    built = []

    def text() -> str:
        built.append(1)
        return "define i64 @f() { ret i64 3 }"

    for name in ("one", "one", "another"):
        objects.cached_library(name, text, host()).address("f")
    assert len(built) == 2


def test_another_generator_finds_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A change of our own sources or of a version is another key."""
    package = shutil.copytree(Path(jg.__file__).parent, tmp_path / "jitgraph")
    monkeypatch.setattr(generators, "_PACKAGE", package)
    source = package / "codegen" / "nests.py"
    try:
        for change in (
            lambda: None,
            lambda: os.utime(source, ns=(0, source.stat().st_mtime_ns + 1)),
            lambda: (package / "__init__.py").write_text("# another version"),
            lambda: (package / "codegen" / "more.py").touch(),
            lambda: monkeypatch.setattr(np, "__version__", "0"),
        ):
            change()
            generators.generator.cache_clear()
            assert not was_found(simple())
            assert was_found(simple())
    finally:
        generators.generator.cache_clear()


def test_switched_off(directory: Path) -> None:
    simple()
    with jg.config.override(cache=False):
        assert store() is None
        assert not was_found(simple())
    assert was_found(simple())
    with pytest.raises(OptionError, match="cache cannot be 'no'"):
        jg.config.cache = "no"


@pytest.mark.parametrize(("text", "value"), [("0", "False"), ("1", "True")])
def test_switch_in_the_environment(text: str, value: str) -> None:
    program = "import jitgraph; print(jitgraph.config.cache)"
    environment = {**os.environ, "JITGRAPH_CACHE": text}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert done.stdout.decode().strip() == value


# --- what happens to files ----------------------------------------------------------------------
def test_an_entry_comes_back_as_it_was(shelf: Store) -> None:
    assert shelf.load(KEY) is None
    shelf.save(KEY, ENTRY)
    assert shelf.load(KEY) == ENTRY
    assert shelf.load(fingerprint("another")) is None


def test_keys_tell_parts_apart() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("ab") != fingerprint("ab", "")


def test_every_damaged_byte_is_noticed(shelf: Store, directory: Path) -> None:
    shelf.save(KEY, ENTRY)
    (file,) = directory.iterdir()
    data = file.read_bytes()
    for position in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[position] ^= bit
            file.write_bytes(damaged)
            assert shelf.load(KEY) is None, (position, bit)
    for length in range(len(data)):
        file.write_bytes(data[:length])
        assert shelf.load(KEY) is None, length
    file.write_bytes(data + b"\0")
    assert shelf.load(KEY) is None
    file.write_bytes(data)
    assert shelf.load(KEY) == ENTRY


def test_an_entry_under_anothers_name_is_not_taken(shelf: Store, directory: Path) -> None:
    shelf.save(KEY, ENTRY)
    (file,) = directory.iterdir()
    another = fingerprint("another")
    file.rename(directory / f"{another}{store_module.SUFFIX}")
    assert shelf.load(another) is None


def test_damage_costs_a_compilation(directory: Path) -> None:
    simple()
    for damage in (b"", b"jitgraph cache 1\n", os.urandom(3000)):
        (file,) = directory.glob("*.jgc")
        file.write_bytes(damage)
        made = simple()
        assert not was_found(made)
        assert gives_right_results(made)
        assert was_found(simple())


def test_links_and_pipes_are_not_followed(shelf: Store, directory: Path, tmp_path: Path) -> None:
    shelf.save(KEY, ENTRY)
    (file,) = directory.iterdir()
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert shelf.load(KEY) is None
    before = elsewhere.read_bytes()
    shelf.save(KEY, Entry({}, (b"new",)))
    assert elsewhere.read_bytes() == before
    assert shelf.load(KEY) == Entry({}, (b"new",))
    file.unlink()
    os.mkfifo(file)
    assert shelf.load(KEY) is None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o702])
def test_a_directory_open_to_others_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.warns(RuntimeWarning, match="chmod 700"):
        assert gives_right_results(simple())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not was_found(simple())
    assert not list(directory.iterdir())


def test_a_directory_of_somebody_else_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match="must belong to you"):
        assert store() is None


def test_the_directory_is_private(shelf: Store, directory: Path) -> None:
    shelf.save(KEY, ENTRY)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in directory.iterdir()] == [0o600]


def test_where_the_directory_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JITGRAPH_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert location() == tmp_path / "jitgraph"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert location() in (tmp_path / ".cache/jitgraph", tmp_path / "Library/Caches/jitgraph")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    assert location() is None
    assert store() is None


def test_without_a_directory_everything_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("JITGRAPH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with jg.config.override(cache=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store() is None
        assert gives_right_results(simple())


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("function", ["open", "write", "replace"])
def test_what_cannot_be_written_is_not_kept(
    directory: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: int
) -> None:
    simple()
    (kept,) = directory.iterdir()
    x = T.dvector("x")

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    if function == "write":  # after the file has been made
        opened = os.open

        def full(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            made = opened(path, flags, *args, **kwargs)
            if flags & os.O_CREAT:
                os.close(made)
                return opened("/dev/full", os.O_WRONLY)
            return made

        monkeypatch.setattr(os, "open", full)
    elif function == "open":
        monkeypatch.setattr(Store, "_write", fails)
    else:
        monkeypatch.setattr(os, "replace", fails)
    assert was_found(simple())
    f = jg.function([x], x * 3)
    assert not was_found(f)
    np.testing.assert_array_equal(f([1, 2]), [3, 6])
    assert list(directory.iterdir()) == [kept]


def test_least_recently_used_go_first(shelf: Store, directory: Path) -> None:
    keys = [fingerprint(str(k)) for k in range(8)]
    for age, key in enumerate(keys):
        shelf.save(key, Entry({}, (bytes(10_000),)))
        os.utime(directory / f"{key}{store_module.SUFFIX}", (1e9 + age, 1e9 + age))
    assert shelf.load(keys[0]) is not None  # a use, which makes it the youngest
    assert [file.key for file in shelf.files()] == [*keys[1:], keys[0]]
    shelf.clean(limit=90_000)
    assert len(shelf.files()) == 8
    shelf.clean(limit=80_000)
    left = [file.key for file in shelf.files()]
    assert left == [*keys[-len(left) + 1 :], keys[0]]
    assert sum(file.size for file in shelf.files()) <= 60_000


def test_writing_much_cleans_by_itself(
    shelf: Store, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    cleaned = []
    monkeypatch.setattr(Store, "clean", lambda self: cleaned.append(1))
    for k in range(2000):
        shelf.save(fingerprint(str(k)), Entry({}, ()))
    assert 2000 / 64 / 3 < len(cleaned) < 2000 / 64 * 3


def test_remains_of_dead_writers_go(shelf: Store, directory: Path) -> None:
    old, new = directory / "1.0.tmp", directory / "2.0.tmp"
    old.touch()
    new.touch()
    os.utime(old, (1e9, 1e9))
    shelf.clean()
    assert list(directory.iterdir()) == [new]


def test_nothing_of_ours_unpickles() -> None:
    """Files of the cache are data; reading them must not run what they say. Programs that run under
    `jitgraph.theano` may read pickles of their own."""
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    package = Path(jg.__file__).parent
    for path in set(package.rglob("*.py")) - set((package / "theano").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not forbidden & {a.name.partition(".")[0] for a in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in forbidden, path


# --- the command --------------------------------------------------------------------------------
def test_command(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, status: int = 0) -> str:
        assert command.main(arguments) == status
        return capsys.readouterr().out

    assert "entries    0" in said()
    x = T.dvector("x")
    jg.function([x], x + 1, name="increment")
    jg.function([x], x - 1, name="decrement")
    out = said("stats")
    assert "entries    2" in out
    assert str(directory) in out
    listed = said("list")
    assert "function increment" in listed
    assert "function decrement" in listed
    assert "2 entries are sound" in said("verify")
    file = next(directory.glob("*.jgc"))
    file.write_bytes(b"garbage")
    assert "damaged" in said("list")
    assert file.stem in said("verify", status=1)
    assert "1 entries are sound" in said("verify")
    assert "1 entries removed" in said("clear")
    assert not list(directory.iterdir())


def test_command_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("JITGRAPH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert command.main([]) == 1
    assert "there is no cache" in capsys.readouterr().out


def test_command_when_switched_off(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with jg.config.override(cache=False):
        assert command.main([]) == 0
    assert "switched off" in capsys.readouterr().out
