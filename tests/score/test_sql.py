"""Execution accuracy of SQL: limits, hostile queries, comparison of results, and Spider's databases."""

from __future__ import annotations

import itertools
import json
import math
import os
import pickle
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify import sql_functions
from guerdon.score.verify.sql import (
    Result,
    SqlExecution,
    database_image,
    execution_result,
    extract_sql,
    has_top_level_order,
    results_equal,
)
from guerdon.score.verify.sql_results import rows_equal
from tests.score.spider import databases

SCRIPT = """
create table person (id integer primary key, name text, age integer, height real);
insert into person values (1, 'Ada', 36, 1.7), (2, 'Bob', 20, null), (3, 'Cy', 20, 1.8);
create table secret (word text);
"""
IMAGE = database_image(SCRIPT)
COUNTER = "with recursive c(x) as (select 1 union all select x + 1 from c) "
BIG = "hex(zeroblob(49990))"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's 100% a?db#.sqlite"
    path.write_bytes(IMAGE)
    return path


# --- running queries --------------------------------------------------------------------------------------------


def test_runs_on_bytes_and_files(file: Path) -> None:
    for db in (IMAGE, file, str(file)):
        result = execution_result(db, "select name from person order by age, name desc")
        assert result == Result((("Cy",), ("Bob",), ("Ada",)), ordered=True)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


REFUSED = {
    "insert": "insert into person values (9, 'x', 1, 1)",
    "returning": "delete from person returning id",
    "update behind a with": "with x as (select 1) update person set age = 0",
    "drop": "drop table person",
    "create": "create table t (x)",
    "temporary table": "create temp table t (x)",
    "attach": "attach 'other.db' as other",
    "attach memory": "attach ':memory:' as other",
    "vacuum into": "vacuum into 'copy.db'",
    "pragma": "pragma journal_mode = wal",
    "pragma as a table": "select * from pragma_database_list",
    "writable schema": "pragma writable_schema = 1",
    "transaction": "begin",
    "load_extension": "select load_extension('x')",
    "LOAD_EXTENSION": "select LOAD_EXTENSION('x')",
    "writefile": "select writefile('x', 'y')",
    "readfile": "select readfile('/etc/passwd')",
    "json_patch": "select json_patch('{}', '{}')",
    "tokenizer": "select fts3_tokenizer('simple')",
    "virtual table": "create virtual table v using fts5(x)",
    "two statements": "select 1; drop table person",
    "two queries": "select 1; select 2",
    "nothing": "",
    "a comment": "-- select 1",
    "NUL": "select 1\0; drop table person",
    "no SQL": "give me the names",
    "unfinished": "select (",
    "deep": "select " + "(" * 5000 + "1" + ")" * 5000,
    "long": "select " + "1," * 20_000 + "1",
    "many terms": "select " + "+".join("1" * 5000),
    "zeroblob": "select zeroblob(1000000000)",
    "randomblob": "select length(randomblob(1000000000))",
    "group_concat": COUNTER + "select group_concat(x) from (select x from c limit 1000000)",
    "doubling": "select replace(replace(replace(" + BIG + ", '0', '00'), '0', '00'), '0', '00')",
    "parameters": "select ?",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    for db in (IMAGE, file):
        result = execution_result(db, REFUSED[name], timeout=2.0)
        assert result.error, name
        assert result.rows == ()
        assert not result.timed_out
    assert file.read_bytes() == IMAGE
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


ENDLESS = {
    "recursion": COUNTER + "select count(*) from c",
    "sorting": COUNTER + "select x from c order by -x limit 1",
    "cross join": "select count(*) from " + ", ".join(f"person p{i}" for i in range(40)),
    "growing table": "with recursive c(x, y) as (select 1, randomblob(9000) union "
    "select x + 1, randomblob(9000) from c) select count(*) from c",
    "searching": COUNTER + f"select sum(instr({BIG}, substr({BIG}, 1, 40000) || x)) from c",
    "patterns": COUNTER + f"select sum({BIG} like '%0%0%0%0%0%1' || x) from c",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_queries_end(name: str) -> None:
    result = execution_result(IMAGE, ENDLESS[name], timeout=0.2)
    assert result.timed_out or result.error == "used more memory than is allowed", result.error
    assert execution_result(IMAGE, "select 1").rows == ((1,),)


def test_long_single_steps_end() -> None:
    """Functions whose step SQLite does not interrupt: hundreds of them, without a loop between them."""
    ones = "replace(hex(zeroblob(4000)), '0', '1') || '0'"
    for call in (f"length(trim({BIG}, {ones}))", f"instr({BIG}, substr({BIG}, 1, 49000) || '1')"):
        result = execution_result(IMAGE, "select " + " + ".join([call] * 100), timeout=0.5)
        assert not result.error
    many = f"length(replace({BIG}, substr({BIG}, 1, 40000) || '1', 'x'))"
    assert execution_result(IMAGE, f"select {many}").rows == ((99980,),)
    odd = "select trim('x', (" + COUNTER + "select group_concat(char(x), '') from (select x from c limit 2000)))"
    assert "exception" in execution_result(IMAGE, odd).error


@given(
    values=st.lists(
        st.none()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
        | st.sampled_from([1e20, -2.5e-7, 1e300, float("inf")])
        | st.text("ab01.e é", max_size=6)
        | st.binary(max_size=3).filter(lambda data: data.isascii()),
        min_size=3,
        max_size=3,
    )
)
def test_replaced_functions_equal_sqlites(values: list[object]) -> None:
    with closing(sqlite3.connect(":memory:")) as own, closing(sqlite3.connect(":memory:")) as ours:
        sql_functions.register(ours)
        blobs = any(isinstance(value, bytes) for value in values)
        changed = [] if blobs else ["replace(?1, ?2, ?3)"]
        for call in (*changed, "instr(?1, ?2)", "trim(?1, ?2)", "ltrim(?1, ?2)", "rtrim(?1, ?2)"):
            sql = f"select {call}, ?1, ?2, ?3"
            assert own.execute(sql, values).fetchall() == ours.execute(sql, values).fetchall(), call


def test_memory_ends_a_query() -> None:
    blobs = "with recursive c(x, y) as (select 1, randomblob(90000) union select x + 1, randomblob(90000) from c) "
    result = execution_result(IMAGE, blobs + "select count(*) from c", timeout=60.0)
    assert result.error == "used more memory than is allowed"
    assert not result.timed_out


def test_results_are_bounded() -> None:
    assert execution_result(IMAGE, "select printf('%900000000d', 1)").rows in ((), ((None,),))
    assert execution_result(IMAGE, COUNTER + "select x from c").error == "gives more than 10000 rows"
    assert "bytes" in execution_result(IMAGE, COUNTER + "select randomblob(90000) from c").error
    assert len(execution_result(IMAGE, COUNTER + "select x from c limit 5", max_rows=5).rows) == 5
    assert execution_result(IMAGE, COUNTER + "select x from c limit 6", max_rows=5).error


def test_the_clock_is_that_of_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog that fires late, or never, is backed by the query's own look at the clock."""
    monkeypatch.setattr(threading.Timer, "start", lambda self: None)
    monkeypatch.setattr(threading.Timer, "join", lambda self: None)
    assert execution_result(IMAGE, ENDLESS["recursion"], timeout=0.1).timed_out


def test_works_in_threads_that_compete() -> None:
    results: list[Result] = []

    def work(index: int) -> None:
        sql = ENDLESS["recursion"] if index % 2 else f"select {index}"
        results.append(execution_result(IMAGE, sql, timeout=0.3))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.timed_out for result in results) == 4
    assert {result.rows for result in results if not result.error} == {((index,),) for index in (0, 2, 4, 6)}
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no database"):
        execution_result(tmp_path / "absent.db", "select 1")
    (tmp_path / "text.db").write_text("this is not a database, though it is long enough to look like one" * 20)
    with pytest.raises(ValueError, match="cannot be read"):
        execution_result(tmp_path / "text.db", "select 1")
    for limit in ({"timeout": 0.0}, {"max_rows": 0}, {"max_value_bytes": 0}):
        with pytest.raises(ValueError, match="expected a positive number"):
            execution_result(IMAGE, "select 1", **limit)  # type: ignore[arg-type]


def test_an_unfinished_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table t (x)")
    connection.commit()
    with pytest.raises(ValueError, match="write-ahead log"):
        execution_result(path, "select * from t")
    connection.close()
    assert execution_result(path, "select * from t").rows == ()


def test_odd_text_is_data() -> None:
    db = database_image("create table t (x); insert into t values (cast(x'ff41' as text)), (x'ff41');")
    first, second = execution_result(db, "select x from t").rows
    assert first == ("\udcffA",)
    assert second == (b"\xffA",)


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("select x from t ORDER  BY x", True),
        ("select x from t order/* */by x desc limit 3", True),
        ("select x from t union select y from u order by 1", True),
        ("(select x from t) order by x", True),
        ("select * from (select x from t order by x)", False),
        ("with a as (select x from t order by x) select * from a", False),
        ("select x, row_number() over (order by x) from t", False),
        ("select 'order by' from t", False),
        ('select "order by", [order by], `order by` from t -- order by x', False),
        ("select x from t group by x", False),
        ("select 'it''s' from t order by ')'", True),
        ("select border, by from t", False),
    ],
)
def test_top_level_order(sql: str, ordered: bool) -> None:
    assert has_top_level_order(sql) == ordered


def test_extraction() -> None:
    assert extract_sql("```sql\nselect 1\n```\nor\n```SQL\nselect 2;\n```") == "select 2;"
    assert extract_sql("```python\nprint(1)\n```\n```\nselect 3\n```") == "select 3"
    assert extract_sql(" -- names\n with x as (select 1) select * from x") is not None
    assert extract_sql("The query selects names") is None
    assert extract_sql("```python\nprint(1)\n```") is None
    assert extract_sql("/**/" * 10_000 + "x") is None
    assert extract_sql("/* it's * all */ (select 1)") is not None


# --- comparing results ------------------------------------------------------------------------------------------

cells = st.sampled_from([None, 0, 1, 1.0, 1.0000004, 2, 2.5, "1", "a", b"a", ""])
tables = st.lists(st.tuples(cells, cells), max_size=5)


def slow_cell(x: object, y: object) -> bool:
    if isinstance(x, int | float) and isinstance(y, int | float):
        if isinstance(x, int) and isinstance(y, int):
            return x == y
        return abs(x - y) <= 1e-6 * max(1.0, abs(x), abs(y))
    return type(x) is type(y) and x == y


def slow_row(x: tuple[object, ...], y: tuple[object, ...]) -> bool:
    return len(x) == len(y) and all(slow_cell(p, q) for p, q in zip(x, y, strict=True))


@given(a=tables, b=tables, shuffle=st.randoms(use_true_random=False), same=st.booleans())
def test_equality_is_that_of_some_pairing(a: list, b: list, shuffle: object, same: bool) -> None:
    if same:
        b = list(a)
        shuffle.shuffle(b)  # type: ignore[attr-defined]
    paired = len(a) == len(b) and any(
        all(slow_row(x, y) for x, y in zip(a, order, strict=True)) for order in itertools.permutations(b)
    )
    in_order = len(a) == len(b) and all(slow_row(x, y) for x, y in zip(a, b, strict=True))
    covered = all(any(slow_row(x, y) for y in b) for x in a) and all(any(slow_row(x, y) for x in a) for y in b)
    assert rows_equal(a, b, False) == rows_equal(b, a, False) == paired
    assert rows_equal(a, b, True) == rows_equal(b, a, True) == in_order
    assert rows_equal(a, b, False, duplicates=False) == covered


def test_pairing_that_sorting_would_miss() -> None:
    a = [(1.0000004, 5.0), (1.0, 7.0)]
    b = [(1.0000004, 7.0), (1.0, 5.0)]
    assert rows_equal(a, b, ordered=False)
    assert not rows_equal(a, b, ordered=True)
    n = 300
    grid = [(1.0 + (i % 7) * 1e-8, float(i)) for i in range(n)]
    moved = [(1.0 + ((i + 3) % 7) * 1e-8, float(i)) for i in reversed(range(n))]
    assert rows_equal(grid, moved, ordered=False)
    assert not rows_equal(grid, [*moved[:-1], (1.0, 0.5)], ordered=False)


def test_equality_examples() -> None:
    assert results_equal([(None,)], [(None,)], ordered=False)
    assert not results_equal([(None,)], [(0,)], ordered=False)
    assert not results_equal([(1, 2)], [(2, 1)], ordered=False)
    assert not results_equal([("1",)], [(1,)], ordered=False)
    assert results_equal([("1",), (" 2.50 ",)], [(2.5,), (1,)], ordered=False, coerce=True)
    assert not results_equal([("1_0",), ("inf",)], [(10,), (math.inf,)], ordered=True, coerce=True)
    assert results_equal([(math.inf,)], [(math.inf,)], ordered=True)
    assert not results_equal([(2**60 + 1,)], [(2**60,)], ordered=False)
    assert results_equal([(1e9,)], [(1e9 + 1,)], ordered=False)
    assert not results_equal([(1e9,)], [(1e9 + 1,)], ordered=False, tolerance=0.0)
    assert not results_equal(Result(error="x"), Result(error="x"), ordered=False)
    assert results_equal([], [], ordered=True)
    with pytest.raises(ValueError, match="tolerance"):
        rows_equal([], [], False, tolerance=-1.0)


# --- the verifier -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "gold", "reward", "reason"),
    [
        ("select name from person", "select name from person order by name limit 9", 1.0, ""),
        ("select name from person order by id desc", "select name from person", 1.0, ""),
        ("select name from person order by id desc", "select name from person order by id", 0.0, "another order"),
        ("select name from person where id < 3", "select name from person", 0.0, "2 rows: expected 3"),
        ("select id, name from person", "select name from person", 0.0, "2 columns: expected 1"),
        ("select distinct age from person", "select age from person", 0.0, "2 rows"),
        ("select upper(name) from person", "select name from person", 0.0, "other rows"),
        ("select wages from person", "select name from person", 0.0, "no such column"),
        ("I cannot", "select 1", 0.0, "there is no query"),
        ("drop table person", "select 1", 0.0, "there is no query"),
        ("select 1; select 1", "select 1", 0.0, "one statement"),
        ("select * from secret", "select word from secret where 0", 1.0, "both results are empty"),
        ("select 1", "select wages", math.nan, "target query: no such column"),
        ("select 1", "delete from person", math.nan, "target query: not authorized"),
    ],
)
def test_verdicts(response: str, gold: str, reward: float, reason: str) -> None:
    verdict = pickle.loads(pickle.dumps(SqlExecution()))(response, gold, {"db": IMAGE})
    assert verdict.reward == pytest.approx(reward, nan_ok=True)
    assert reason in verdict.reason
    assert bool(reason) == bool(verdict.reason)


def test_choices_of_the_verifier(file: Path) -> None:
    row = {"db": IMAGE}
    endless = SqlExecution(timeout=0.1, on_timeout=math.nan)(ENDLESS["recursion"], "select 1", row)
    assert math.isnan(endless.reward)
    assert "0.1 seconds" in endless.reason
    assert SqlExecution(timeout=0.1)(ENDLESS["recursion"], "select 1", row).reward == 0.0
    empty = SqlExecution(on_both_empty=0.0)("select * from secret", "select * from secret", row)
    assert empty.reward == 0.0
    assert (
        SqlExecution(duplicates=False)("select distinct age from person", "select age from person", row).reward == 1.0
    )
    tagged = SqlExecution(part="answer")
    assert tagged("<answer>```sql\nselect 1\n```</answer>", "select 1", row).reward == 1.0
    stored = SqlExecution(database="name", folder=str(file.parent), pattern="{}.sqlite")
    assert stored.reads == ("name",)
    assert stored("select 1", "select 1", {"name": file.stem}).reward == 1.0
    with pytest.raises(FileNotFoundError):
        stored("select 1", "select 1", {"name": "absent"})
    with pytest.raises(ValueError, match="no column 'db'"):
        SqlExecution()("select 1", "select 1", {})
    for wrong in ({"timeout": 0}, {"max_rows": 0}, {"tolerance": -1}):
        with pytest.raises(ValueError, match="SqlExecution"):
            SqlExecution(**wrong)  # type: ignore[arg-type]


def test_a_changed_database_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    verifier = SqlExecution()
    for number in (1, 2):
        path.write_bytes(database_image(f"create table t{number} (x); insert into t{number} values ({number});"))
        # The same size and a time of change that a coarse clock may not tell apart.
        stamp = time.time_ns() + number
        os.utime(path, ns=(stamp, stamp))
        verdict = verifier("select name from sqlite_master", "select name from sqlite_master", {"db": str(path)})
        assert verdict.reward == 1.0
        assert verifier(f"select {number}", f"select x from t{number}", {"db": str(path)}).reward == 1.0


# --- real databases and queries ---------------------------------------------------------------------------------


def test_spider(real_data: Path) -> None:
    """Every gold query gives its own rows, and those of another question of the database mostly not."""
    folder = real_data / "spider"
    if not folder.is_dir():
        pytest.skip(f"Spider is absent: {folder}")
    images = databases((folder / "ic_spider_dbs.sql").read_text(encoding="utf-8"))
    questions = json.loads((folder / "ic_spider_dev.json").read_text(encoding="utf-8"))
    assert len(images) == 20
    verifier = SqlExecution(on_both_empty=math.nan)
    right = [verifier(q["gold"], q["gold"], {"db": images[q["db"]]}) for q in questions]
    assert {verdict.reward for verdict in right if verdict.reason != "both results are empty"} == {1.0}
    assert sum(verdict.decided for verdict in right) > 900
    others = {q["db"]: q["gold"] for q in questions}
    wrong = [verifier(others[q["db"]], q["gold"], {"db": images[q["db"]]}).reward for q in questions]
    assert sum(reward == 1.0 for reward in wrong) < 0.06 * len(wrong)


def test_spider_agents(real_data: Path) -> None:
    """Queries that an agent wrote against MySQL, with the rewards that it got there.

    What differs is the dialect: functions that SQLite does not have, target queries that MySQL refuses.
    """
    folder = real_data / "spider"
    if not folder.is_dir():
        pytest.skip(f"Spider is absent: {folder}")
    images = databases((folder / "ic_spider_dbs.sql").read_text(encoding="utf-8"))
    by_question = {q["query"]: q for q in json.loads((folder / "ic_spider_dev.json").read_text(encoding="utf-8"))}
    episodes = json.loads((folder / "gpt4_multiturn_10_turns.json").read_text(encoding="utf-8"))
    verifier = SqlExecution()
    agree = disagree = 0
    for episode in episodes.values():
        question, turns = by_question[episode["query"]], episode["turn_history"]
        for action, reward in zip(turns["actions"], turns["rewards"], strict=True):
            if action.lower().lstrip().startswith(("select", "with")):
                verdict = verifier(action, question["gold"], {"db": images[question["db"]]})
                agree += verdict.reward == float(reward == 1.0)
                disagree += verdict.reward != float(reward == 1.0)
    assert agree + disagree == 3900
    assert agree >= 0.975 * 3900
