"""Who opens a URL: Penstock's own backends, functions of this program, installed packages; what is said if nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.exits import Code
from penstock.stores import installed, register, registry, sql_store, vector_store
from penstock.stores.errors import BackendClash, BadStoreURL, BrokenBackend, MissingExtra, UnknownBackend
from penstock.stores.memory import open_vector as memory_vectors
from penstock.stores.memory.sql import MemorySql
from penstock.stores.memory.vectors import MemoryVectors
from penstock.stores.registry import key_value_store, served_by, vector_opener
from tests.system.command import penstock

Install = Callable[..., None]

OPENER = """
from penstock.stores.memory import open_vector as memory

def open_vector(url):
    store = memory('memory://')
    store.url = url
    return store
"""


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    installed.backends.cache_clear()
    yield
    installed.backends.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution with one module and one entry point where Python looks for packages."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def put(name: str, source: str, scheme: str = "shelf", value: str = "") -> None:
        modules.append(name)
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[penstock.stores]\n{scheme} = {value or name}\n")
        installed.backends.cache_clear()

    yield put
    for each in modules:
        sys.modules.pop(each, None)


def test_a_package_opens_the_urls_of_its_scheme(install: Install) -> None:
    install("shelves", OPENER)

    store: Any = vector_store("shelf:///books?n=1")

    assert store.url == "shelf:///books?n=1"
    assert served_by("shelf:///books", "vector") == "shelves 1.2 (shelves)"


def test_a_package_is_imported_only_when_its_scheme_is_opened(install: Install) -> None:
    install("shelves", "raise SystemError('imported')")

    vector_store("memory://")
    with pytest.raises(UnknownBackend):
        vector_store("chest:///x")

    assert "shelves" not in sys.modules


def test_a_function_of_a_package_opens_what_it_is_registered_for(install: Install) -> None:
    register_it = "from penstock.stores import register\nregister('shelf', sort='vector')(open_vector)\n"
    install("shelves", OPENER + register_it, value="shelves:open_vector")

    assert isinstance(vector_store("shelf:///"), MemoryVectors)
    assert served_by("shelf:///", "vector") == "shelves 1.2 (shelves:open_vector)"
    with pytest.raises(UnknownBackend, match="'shelf', which is one for vector; known are sqlite://"):
        sql_store("shelf:///")


def test_a_function_of_a_package_that_is_not_registered_is_refused_with_the_remedy(install: Install) -> None:
    install("shelves", OPENER, value="shelves:open_vector")

    with pytest.raises(BrokenBackend, match=r"shelves 1\.2 \(shelves:open_vector\).*@register\(\"shelf\""):
        vector_store("shelf:///")


def test_a_registered_function_opens_the_urls_of_its_scheme_and_driver() -> None:
    register("shelf", sort="vector")(memory_vectors)

    assert isinstance(vector_store("shelf:///"), MemoryVectors)
    assert isinstance(vector_store("shelf+oak:///"), MemoryVectors)
    assert served_by("shelf:///", "vector") == "penstock.stores.memory.vectors:open_vector"


def test_one_scheme_may_have_a_function_for_each_sort() -> None:
    register("shelf", sort="vector")(memory_vectors)
    register("shelf", sort="sql")(sql_store_of_memory)

    assert isinstance(vector_store("shelf://"), MemoryVectors)
    assert isinstance(sql_store("shelf://"), MemorySql)


def sql_store_of_memory(_: str) -> Any:
    return sql_store("memory://")


def test_a_second_function_for_a_scheme_is_refused_with_both_names() -> None:
    register("shelf", sort="vector")(memory_vectors)

    with pytest.raises(BackendClash, match=r"memory\.vectors:open_vector; .*:sql_store_of_memory needs another"):
        register("shelf", sort="vector")(sql_store_of_memory)

    assert isinstance(vector_store("shelf:///"), MemoryVectors)


def test_the_same_function_may_be_registered_again() -> None:
    """As when its module is loaded again."""
    for _ in range(2):
        register("shelf", sort="vector")(memory_vectors)

    assert isinstance(vector_store("shelf:///"), MemoryVectors)


@pytest.mark.parametrize(("scheme", "sort"), [("sqlite", "sql"), ("memory", "vector")])
def test_a_scheme_of_penstocks_own_is_not_given_away(scheme: str, sort: registry.SortName, install: Install) -> None:
    install("shelves", OPENER, scheme=scheme)

    with pytest.raises(BackendClash, match=f"{scheme}:// is Penstock's own"):
        register(scheme, sort=sort)(memory_vectors)

    assert served_by(f"{scheme}://", sort) is None


@pytest.mark.parametrize("scheme", ["", "Shelf", "my_shelf", "9s", "a+b", "shelf://"])
def test_a_scheme_that_no_url_can_have_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match="small letters, digits, dots and hyphens"):
        register(scheme, sort="vector")


def test_a_sort_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="'graph'; one of sql, vector, key_value"):
        register("shelf", sort="graph")  # type: ignore[arg-type]  # what is tried


def test_two_packages_with_one_scheme_are_both_refused(install: Install) -> None:
    install("shelves", OPENER)
    install("boards", OPENER)

    with pytest.raises(BackendClash, match=r"claimed by boards 1\.2 \(boards\) and by shelves 1\.2 .*remove all but"):
        vector_store("shelf:///")


def test_a_package_and_a_function_of_this_program_with_one_scheme_are_both_refused(install: Install) -> None:
    install("shelves", OPENER)
    register("shelf", sort="vector")(memory_vectors)

    with pytest.raises(BackendClash, match=r"memory\.vectors:open_vector and by shelves 1\.2"):
        vector_store("shelf:///")


@pytest.mark.parametrize(
    ("source", "value", "words"),
    [
        ("import nothing_like_it", "", "ModuleNotFoundError.*nothing_like_it"),
        ("1 / 0", "", "ZeroDivisionError"),
        ("", "shelves:gone", "AttributeError.*gone"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named_with_the_cause(
    install: Install, source: str, value: str, words: str
) -> None:
    install("shelves", source, value=value)

    with pytest.raises(BrokenBackend, match=rf"(?s)shelves 1\.2 .*mend, upgrade or remove it: {words}") as caught:
        vector_store("shelf:///")
    assert caught.value.__cause__ is not None


def test_a_store_that_lacks_what_the_contract_has_is_refused_before_it_is_used(install: Install) -> None:
    install("shelves", "class Shelf:\n    write = close = None\ndef open_vector(url):\n    return Shelf()\n")

    with pytest.raises(BrokenBackend, match=r"shelves 1\.2.*Shelf has no .*search.*no VectorStore") as caught:
        vector_store("shelf:///")
    assert "write" not in str(caught.value)


def test_an_unknown_scheme_is_told_with_the_known_ones_and_the_setting(install: Install) -> None:
    install("shelves", OPENER)
    register("mine", sort="vector")(memory_vectors)

    with pytest.raises(UnknownBackend) as caught:
        vector_store("chest:///x")

    told = str(caught.value)
    assert told.startswith("no vector backend is called 'chest'; known are lancedb://, ")
    assert "memory://" in told
    assert "shelf:// (of shelves 1.2 (shelves))" in told
    assert "mine:// (of penstock.stores.memory.vectors:open_vector)" in told
    assert told.endswith("(see PENSTOCK_VECTOR_URL)")


def test_a_package_that_has_another_sort_is_told(install: Install) -> None:
    install("shelves", OPENER)

    with pytest.raises(UnknownBackend, match=r"'shelf', since shelves 1\.2 \(shelves\) has no open_sql; known are"):
        sql_store("shelf:///")


@pytest.mark.parametrize(
    ("opened", "url", "words"),
    [
        (sql_store, "sqlit:///x", r"'sqlit' \(is sqlite:// meant\?\)"),
        (vector_store, "shlef:///x", r"'shlef' \(is shelf:// meant\?\)"),
        (vector_store, "sqlite:///x", "'sqlite', which is one for sql and key_value;"),
        (key_value_store, "lancedb:///x", "'lancedb', which is one for vector;.*PENSTOCK_KEY_VALUE_URL"),
        (sql_store, "user:s3cret@host/database", "known are sqlite://"),
        (sql_store, "", "a store begins with a scheme; known are sqlite://"),
    ],
)
def test_what_was_meant_is_guessed(opened: Callable[[str], object], url: str, words: str) -> None:
    register("shelf", sort="vector")(memory_vectors)

    with pytest.raises(UnknownBackend, match=words) as caught:
        opened(url)
    assert "s3cret" not in str(caught.value)


def test_a_known_scheme_without_its_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['lancedb'] = None\n"
        "from penstock.stores import BadStoreURL, vector_store\n"
        "try: vector_store('lancedb:///x')\n"
        "except BadStoreURL as exc: print(type(exc).__name__, exc)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "MissingExtra lancedb:// needs lancedb; install it with: pip install 'penstock[lancedb]'\n"


def test_a_driver_that_takes_long_is_left_until_its_store_is_opened() -> None:
    code = (
        "import sys\n"
        "from penstock.stores.registry import vector_opener\n"
        "opened = vector_opener('lancedb:///x')\n"
        "print('lancedb' in sys.modules, type(opened()).__name__, 'lancedb' in sys.modules)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "False LanceStore True\n"


def test_what_cannot_be_checked_without_its_driver_is_opened_at_once() -> None:
    made: list[MemoryVectors] = []

    @register("shelf", sort="vector")
    def opened(_: str) -> MemoryVectors:
        made.append(MemoryVectors())
        return made[-1]

    opener = vector_opener("shelf:///")

    assert [opener(), opener()] == [*made, *made]
    assert len(made) == 1
    with pytest.raises(UnknownBackend):
        vector_opener("chest:///")
    with pytest.raises(BadStoreURL, match="no option 'n'"):
        vector_opener("lancedb:///x?n=1")


def test_every_refusal_is_a_bad_url_and_a_value_error() -> None:
    for each in (UnknownBackend, MissingExtra, BrokenBackend, BackendClash):
        assert issubclass(each, BadStoreURL)
        assert issubclass(each, ValueError)


async def test_the_check_of_settings_names_the_package_that_serves_a_url(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("shelves", OPENER)
    monkeypatch.setenv("PENSTOCK_VECTOR_URL", "shelf:///books")
    monkeypatch.setenv("PENSTOCK_SQL_URL", "memory://")

    right = await penstock(capsys, "config", "check")
    monkeypatch.setenv("PENSTOCK_VECTOR_URL", "shlef:///books")
    wrong = await penstock(capsys, "config", "check")

    assert right.code == Code.OK
    assert "vector_url is served by shelves 1.2 (shelves)." in right.out
    assert "sql_url" not in right.out
    assert wrong.code == Code.NO
    assert "is shelf:// meant?" in wrong.err


@pytest.mark.parametrize(
    ("opened", "url"),
    [
        (vector_store, "lancedb://host/x?api_key=sesame"),
        (vector_store, "lancedb:///?api_key=sesame"),
        (sql_store, "sqlite://me:sesame@host/penstock"),
        (sql_store, "sqlite:///?password=sesame"),
        (key_value_store, "dbm://me:sesame@host/values"),
        (key_value_store, "dbm:///?password=sesame"),
    ],
)
def test_a_url_of_another_kind_is_refused_without_what_is_secret_in_it(
    opened: Callable[[str], object], url: str
) -> None:
    with pytest.raises(BadStoreURL) as caught:
        opened(url)

    assert "sesame" not in str(caught.value)
