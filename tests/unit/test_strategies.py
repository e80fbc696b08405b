"""What each strategy decides, how several work together, and what is refused of a strategy that goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.producer import ProducerSettings
from penstock.wire.errors import InvalidRecord, StrategyFailed
from penstock.wire.fields import json_fields, text_fields
from penstock.wire.ids import format_id, new_id
from penstock.wire.records import (
    KINDS,
    AgentState,
    Context,
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
)
from penstock.wire.settings import InvalidSetting
from penstock.wire.strategies import Chain, Default, Mask, Minimal, Verbose, load
from penstock.worker.settings import WorkerConfig

GUIDE = Path(__file__).parents[2] / "docs/strategies.md"
EMAIL = "a@b.co"
STAMP = bytes(16)


def message(role: str = "user", content: str | None = "hello", **fields: Any) -> Message:
    return Message(new_id(), 1, "s", role, content, **fields)


def log(level: int) -> LogEvent:
    return LogEvent(new_id(), 1, level, "event")


def chain(*strategies: object) -> Chain:
    return Chain("test", [(f"s{number}", each) for number, each in enumerate(strategies)])


def changing(**fields: Any) -> object:
    class Changing:
        def before_store(self, record: Message) -> Message:
            return record._replace(**fields)

    return Changing()


# -- those that are shipped ---------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["default", "default,default", " default , default"])
def test_the_default_is_no_strategy_at_all(spec: str) -> None:
    assert load(spec) is None


def test_minimal_keeps_the_conversation_and_what_went_wrong() -> None:
    minimal = load("minimal")
    assert minimal is not None
    said = message(metadata=b'{"a":1}', platform="web")

    assert minimal.applied(said) == said._replace(metadata=None)
    assert minimal.applied(message("assistant")) is not None
    assert [minimal.applied(message(role)) for role in ("system", "tool", "developer")] == [None] * 3
    assert [minimal.applied(log(level)) is None for level in (10, 20, 30, 40)] == [True, True, False, False]
    vector = Embedding(new_id(), 1, "c", "k", b"\0\0\0\0", "text", b"{}")
    assert minimal.applied(vector) is vector


def test_minimal_takes_chunks_of_the_conversation_without_their_fields() -> None:
    run = StreamChunk(new_id(), 1, "s", "assistant", new_id(), 0, 1, "text", None, b'{"metadata":{}}')

    assert chain(Minimal()).applied(run) == run._replace(fields=None)
    assert chain(Minimal()).applied(run._replace(role="tool")) is None


@pytest.fixture
def untouched_structlog() -> Iterator[None]:
    """As in a process that has configured nothing; afterwards as before."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("untouched_structlog")
def test_verbose_tells_what_was_stored_and_not_what_it_holds() -> None:
    said = message(content="the secret")

    with capture_logs() as logs:
        chain(Verbose()).stored(said)

    assert logs == [
        {"log_level": "debug", "event": "stored", "kind": "message", "id": format_id(said.id), "lane": "messages"}
    ]


MASKED: list[Record] = [
    message(content=EMAIL, metadata=b'{"x":["a@b.co"]}', from_user_name=EMAIL),
    LogEvent(new_id(), 1, 20, EMAIL, EMAIL, data=b'{"x":"a@b.co"}'),
    Embedding(new_id(), 1, "c", "k", b"\0\0\0\0", EMAIL, b'{"a@b.co":1}'),
    Task(new_id(), 1, STAMP, "t", "a@b.co", description=EMAIL, data=b'{"x":"a@b.co"}', result=b'"a@b.co"', error=EMAIL),
    TaskStatus(new_id(), 1, STAMP, "t", "done", result=b'["a@b.co"]', error=EMAIL),
    AgentState(new_id(), 1, STAMP, "a", role=EMAIL, goal=EMAIL, backstory=EMAIL, stats=b'{"x":"a@b.co"}'),
    Context(new_id(), 1, STAMP, "c", b'{"x":"a@b.co"}'),
    KeyValue(new_id(), 1, STAMP, "n", "k", b'"a@b.co"'),
]


@pytest.mark.parametrize("record", MASKED, ids=lambda record: type(record).__name__)
def test_mask_finds_secrets_in_every_kind_of_record(record: Record) -> None:
    masked = chain(Mask()).applied(record)

    assert EMAIL not in repr(masked)
    assert repr(masked) == repr(record).replace(EMAIL, "[masked:email]")
    assert masked is not None
    assert chain(Mask()).applied(masked) is masked


def test_mask_leaves_ids_and_keys_alone() -> None:
    said = Message(new_id(), 1, EMAIL, "user", "hello", user_id=EMAIL, thread_id=EMAIL)
    pair = KeyValue(new_id(), 1, STAMP, EMAIL, EMAIL, b"1")

    assert chain(Mask()).applied(said) is said
    assert chain(Mask()).applied(pair) is pair


def test_every_text_and_every_json_of_every_kind_is_known() -> None:
    """Who adds a record kind looks here: a field that is missing would never be masked."""
    known = {kind.name: (text_fields(_empty(kind.record)), json_fields(_empty(kind.record))) for kind in KINDS}

    places = ("role", "content", "message_type", "platform", "from_user_name")
    assert known == {
        "message": ((*places, "engine_namespace", "provider_type", "state"), ("metadata",)),
        "stream_chunk": (("role", "text"), ("fields",)),
        "log_event": (("event", "message"), ("data",)),
        "embedding": (("text",), ("metadata",)),
        "task": (("status", "task_type", "priority", "description", "error"), ("data", "result")),
        "task_status": (("status", "error"), ("result",)),
        "agent_state": (("state", "role", "goal", "backstory"), ("stats",)),
        "context": ((), ("data",)),
        "key_value": ((), ("value",)),
        "message_deletion": ((), ()),
        "embedding_deletion": ((), ()),
    }


def _empty(kind: type[Any]) -> Any:
    return tuple.__new__(kind, [None] * len(kind._fields))


def test_a_deletion_is_neither_asked_about_nor_changed() -> None:
    class Refuses:
        def should_store(self, _record: Record) -> bool:
            return False

    gone = Task(new_id(), 1, STAMP, "t", deleted_at_us=1)
    deletion = MessageDeletion(new_id(), 1, "s")
    vector = EmbeddingDeletion(new_id(), 1, "c", "k")

    assert chain(Refuses()).applied(gone) is gone
    assert chain(Refuses()).applied(vector) is vector
    assert chain(Refuses()).applied(deletion) is deletion
    assert chain(Refuses()).applied(message(deleted_at_us=1)) is None, "a message that its author took back is one"


# -- several --------------------------------------------------------------------------------------


def test_each_strategy_sees_what_the_one_before_it_made() -> None:
    both = load("minimal,mask")
    assert both is not None

    assert both.applied(message("tool", EMAIL)) is None
    masked = both.applied(message(content=f"mail {EMAIL}", metadata=b"{}"))
    assert isinstance(masked, Message)
    assert (masked.content, masked.metadata) == ("mail [masked:email]", None)


def test_chunks_are_taken_only_if_every_strategy_takes_them() -> None:
    class Takes:
        takes_chunks = True

        def should_store(self, _record: Record) -> bool:
            return True

    class Mine(Default):
        def should_store(self, _record: Record) -> bool:
            return True

    assert [chain(each).takes_chunks for each in (Minimal(), Verbose(), Takes(), Mask(), Mine())] == [
        *(True, True, True),
        *(False, False),
    ]
    assert not chain(Minimal(), Mask()).takes_chunks


def test_a_method_that_is_missing_is_that_of_the_default() -> None:
    class Shouts:
        def before_store(self, record: Message) -> Message:
            return record._replace(content="HELLO")

    shouting = chain(Shouts())
    changed = shouting.applied(message())

    assert isinstance(changed, Message)
    assert changed.content == "HELLO"
    assert not shouting.listens


# -- those that go wrong --------------------------------------------------------------------------


def test_an_error_is_told_by_its_type_and_place_and_never_by_its_text() -> None:
    class Raises:
        def before_store(self, record: Message) -> Message:
            raise LookupError(record.content)

    with pytest.raises(StrategyFailed) as caught:
        chain(Raises()).applied(message(content="the secret"))

    assert str(caught.value) == "strategy 's0' raised LookupError"
    assert isinstance(caught.value, InvalidRecord)
    assert caught.value.__cause__ is None
    assert re.fullmatch(r"test_strategies.py, line \d+, in before_store", caught.value.__notes__[0])


@pytest.mark.parametrize("answer", [None, 1, "yes"])
def test_an_answer_that_is_neither_yes_nor_no_is_refused(answer: object) -> None:
    class Forgets:
        def should_store(self, _record: Record) -> object:
            return answer

    with pytest.raises(StrategyFailed, match=rf"returned {type(answer).__name__} from should_store; True or False"):
        chain(Forgets()).applied(message())


@pytest.mark.parametrize(("result", "name"), [(None, "NoneType"), ({"content": "x"}, "dict"), (log(20), "LogEvent")])
def test_what_is_no_such_record_is_refused(result: object, name: str) -> None:
    class Returns:
        def before_store(self, _record: Record) -> object:
            return result

    with pytest.raises(StrategyFailed, match=f"returned {name} for a Message"):
        chain(Returns()).applied(message())


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"id": new_id()}, "changed id, which must stay"),
        ({"session_id": "other"}, "changed session_id"),
        ({"created_at_us": 2}, "changed created_at_us"),
        ({"version": 1}, "changed version"),
        ({"content": 1}, "put int into content"),
        ({"content": "a\0b"}, "put NUL or a lone surrogate into content"),
        ({"content": "\ud800"}, "put NUL or a lone surrogate into content"),
        ({"metadata": {"a": 1}}, "put dict into metadata"),
        ({"metadata": b"{"}, "put what is no JSON into metadata"),
        ({"metadata": b"[]"}, "put JSON that is no object into metadata"),
        ({"user_id": ""}, "put an id that has not 1 to 255 characters into user_id"),
        ({"user_id": "x" * 256}, "put an id that has not 1 to 255 characters into user_id"),
        ({"updated_at_us": 2**63}, "put an integer beyond 64 bits into updated_at_us"),
        ({"role": None}, "put NoneType into role"),
    ],
)
def test_a_change_that_no_store_could_take_is_refused_without_its_value(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(StrategyFailed, match=fault):
        chain(changing(**fields)).applied(message())


def test_a_stamp_and_a_number_that_is_not_finite_are_refused() -> None:
    task = Task(new_id(), 1, STAMP, "t")

    with pytest.raises(StrategyFailed, match="changed stamp"):
        chain(changing(stamp=bytes(15) + b"x")).applied(task)
    with pytest.raises(StrategyFailed, match="a number that is not finite into duration_s"):
        chain(changing(duration_s=float("nan"))).applied(task)


def test_any_json_value_may_stand_where_any_may() -> None:
    pair = KeyValue(new_id(), 1, STAMP, "n", "k", b"1")

    assert chain(changing(value=b"[2]")).applied(pair) == pair._replace(value=b"[2]")


@given(st.text(max_size=20), st.sampled_from(["content", "platform", "message_type"]))
def test_any_clean_text_may_be_put_where_text_stands(text: str, field: str) -> None:
    said = message()
    changes: dict[str, Any] = {field: text.replace("\0", "")}

    assert chain(changing(**changes)).applied(said) == said._replace(**changes)


# -- the setting ----------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's own."""
    name = f"strategies_of_{new_id().hex()}"
    (tmp_path / f"{name}.py").write_text(
        "class Plain:\n    def should_store(self, record):\n        return record.content != 'ping'\n\n\n"
        "class Later:\n    async def before_store(self, record):\n        return record\n\n\n"
        "class Needs:\n    def __init__(self, what):\n        self.what = what\n\n\n"
        "class Wrong:\n    should_store = True\n\n\n"
        "class Outer:\n    inner = Plain()\n\n\n"
        "nothing = object()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("path", ["Plain", "Outer.inner"])
def test_a_strategy_of_ones_own_is_a_class_or_an_object(package: str, path: str) -> None:
    loaded = load(f"mask,{package}:{path}")
    assert loaded is not None

    assert loaded.applied(message(content="ping")) is None
    assert loaded.applied(message(content="pong")) is not None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("Missing", "AttributeError"),
        ("Needs", "TypeError"),
        ("nothing", "has none of should_store, before_store, after_store"),
        ("Later", "before_store of .* is asynchronous, a plain def is needed"),
        ("Wrong", "should_store of .* is no method"),
    ],
)
def test_an_object_that_is_no_strategy_is_refused_with_the_remedy(package: str, path: str, fault: str) -> None:
    with pytest.raises(InvalidSetting, match=f"strategy is .*{package}:{path}.*{fault}.*my_package.module:object"):
        load(f"{package}:{path}")


def test_a_module_that_cannot_be_found_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidSetting, match=r"'no_such_module:x' cannot be loaded \(ModuleNotFoundError.*PYTHONPATH"):
        load("no_such_module:x")


@pytest.mark.parametrize("settings", [ProducerSettings, WorkerConfig])
@pytest.mark.parametrize("spec", ["minmal", "", "mask,", "a:", ":b", "a b:c", "mask;minimal"])
def test_a_name_that_is_none_is_refused_before_anything_starts(
    settings: type[ProducerSettings | WorkerConfig], spec: str
) -> None:
    with pytest.raises(InvalidSetting, match=f"strategy is {re.escape(repr(spec))}.*default, verbose, minimal, mask"):
        settings(strategy=spec)


# -- the guide ------------------------------------------------------------------------------------


def test_the_example_of_the_guide_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    made: dict[str, Any] = {}
    exec(example, made)  # noqa: S102 - ours
    strategy = chain(made["NoSmallTalk"]())
    long = message("tool", "x" * 2000)

    assert strategy.applied(message(content="ping")) is None
    assert strategy.applied(long) == long._replace(content="x" * 1000)
    assert strategy.applied(log(20)) is not None
    strategy.stored(long)
    assert capsys.readouterr().out == f"stored {long.id.hex()}\n"
