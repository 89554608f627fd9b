"""The jars of the lock, and nothing else, end in the cache."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sluicegate.errors import Problem
from sluicegate.operations.jars import Jar, JarLock, bring, read_lock

if TYPE_CHECKING:
    from pathlib import Path

CONTENTS = {f"org.example:part-{n}:1.{n}": f"content {n}".encode() for n in range(6)}
LOCK = JarLock(
    "9.9.9",
    tuple(Jar(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()),
)


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.operations.jars.time.sleep", lambda _seconds: None)


def from_memory(jar: Jar, scratch: Path) -> Path:
    path = scratch / "download"
    path.write_bytes(CONTENTS[jar.coordinate])
    return path


def never(_jar: Jar, _scratch: Path) -> Path:
    raise AssertionError("nothing was to be fetched")


def test_the_lock_names_one_version_of_kafka_and_a_sha256_for_each_jar() -> None:
    lock = read_lock()
    kafka = {jar.coordinate for jar in lock.jars if jar.coordinate.startswith("org.apache.kafka:")}
    assert all(coordinate.endswith(f":{lock.kafka}") for coordinate in kafka)
    assert f"org.apache.kafka:kafka-clients:{lock.kafka}" in kafka
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in lock.jars)
    assert len({jar.name for jar in lock.jars}) == len(lock.jars)


def test_jars_are_fetched_once(tmp_path: Path) -> None:
    paths = bring(LOCK, tmp_path / "cache", from_memory, quiet=True)
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert bring(LOCK, tmp_path / "cache", never, quiet=True) == paths


def test_a_jar_with_a_wrong_sha256_is_refused(tmp_path: Path) -> None:
    def tampered(jar: Jar, scratch: Path) -> Path:
        path = from_memory(jar, scratch)
        if jar is LOCK.jars[3]:
            path.write_bytes(b"something else")
        return path

    with pytest.raises(Problem, match=r"cannot fetch org\.example:part-3:1\.3") as caught:
        bring(LOCK, tmp_path, tampered, quiet=True)
    assert LOCK.jars[3].sha256 in caught.value.detail
    assert not (tmp_path / LOCK.jars[3].name).exists()
    assert not list(tmp_path.glob(".fetching-*"))


def test_a_jar_that_was_changed_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    paths = bring(LOCK, tmp_path, from_memory, quiet=True)
    paths[2].write_bytes(b"rotten")
    assert bring(LOCK, tmp_path, from_memory, quiet=True)[2].read_bytes() == b"content 2"


def test_a_download_that_fails_twice_succeeds_at_the_third_attempt(tmp_path: Path) -> None:
    failures = {jar.coordinate: 2 for jar in LOCK.jars}

    def shaky(jar: Jar, scratch: Path) -> Path:
        if failures[jar.coordinate]:
            failures[jar.coordinate] -= 1
            raise ConnectionError
        return from_memory(jar, scratch)

    assert len(bring(LOCK, tmp_path, shaky, quiet=True)) == len(LOCK.jars)


def test_a_failed_download_names_the_coordinate_and_the_ways_out_but_no_host(
    tmp_path: Path,
) -> None:
    def unreachable(_jar: Jar, _scratch: Path) -> Path:
        raise ConnectionError("https://repository.example/maven2 is not reachable")

    with pytest.raises(Problem, match=r"cannot fetch org\.example:part-0:1\.0") as caught:
        bring(LOCK, tmp_path, unreachable, quiet=True)
    told = str(caught.value)
    assert all(way in told for way in ("again", "--broker host:port", "docker compose"))
    assert "repository.example" not in told


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(bring, LOCK, tmp_path, from_memory, quiet=True) for _ in range(8)]
    for run in runs:
        assert [path.read_bytes() for path in run.result()] == list(CONTENTS.values())


def test_without_a_terminal_progress_is_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring(LOCK, tmp_path, from_memory, quiet=False)
    bring(LOCK, tmp_path, from_memory, quiet=False)
    assert capsys.readouterr().err.splitlines() == [
        "Apache Kafka 9.9.9: fetching 6 jars, once",
        "Apache Kafka 9.9.9: jars are ready",
    ]
