"""``zhenxue keys``: made once, shown once, listed without the secret, revoked for good."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.credentials import ApiKey, Role
from service.keys_commands import keys_app
from service.sql import api_keys
from service.sql.api_keys import Principal
from service.sql.database import Database, load_or_create_database_key


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder in which the service was started once."""
    load_or_create_database_key(tmp_path / "keys" / "database.key")
    return tmp_path


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys_app, [*arguments, "--data", str(data)])


def made(data: Path, *arguments: str) -> ApiKey:
    """Make a key; return what was shown, and nothing was shown beside it."""
    result = run(data, *arguments)
    assert result.exit_code == 0, result.output
    return ApiKey(result.stdout.removesuffix("\n"))


def refusal(data: Path, *arguments: str) -> str:
    """Return what was complained of."""
    result = run(data, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def listed(data: Path) -> list[dict[str, Any]]:
    result = run(data, "list", "--json")
    assert result.exit_code == 0
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def who_it_opens_to(data: Path, key: ApiKey) -> Principal | None:
    secret = load_or_create_database_key(data / "keys" / "database.key")
    database = Database.open(f"sqlite:///{data / 'zhenxue.db'}", key=secret)
    try:
        with database.reading() as tx:
            return api_keys.authenticate(tx, key.digest)
    finally:
        database.close()


def test_a_platforms_key_opens_to_the_platform(data: Path) -> None:
    key = made(data, "platform", "p-1")
    assert who_it_opens_to(data, key) == Principal(
        key_id=key.key_id, role=Role.PLATFORM, platform_id="p-1"
    )


def test_a_platform_on_record_gets_another_key(data: Path) -> None:
    keys = [made(data, "platform", "p-1", "--name", name) for name in ("First", "Second")]
    assert len({key.key_id for key in keys}) == 2
    assert all(who_it_opens_to(data, key) for key in keys)
    assert [(row["platform_id"], row["label"]) for row in listed(data)] == [
        ("p-1", "First"),
        ("p-1", "Second"),
    ]


def test_an_officers_key_opens_to_the_person(data: Path) -> None:
    principal = who_it_opens_to(data, made(data, "officer", "王芳"))
    assert principal is not None
    assert (principal.role, principal.platform_id, principal.person) == (
        Role.OFFICER,
        None,
        "王芳",
    )


@pytest.mark.parametrize(("role", "whose"), [("platform", "p-1"), ("officer", "王芳")])
def test_a_key_for_programs(data: Path, role: str, whose: str) -> None:
    result = run(data, role, whose, "--json")
    shown = json.loads(result.stdout)
    key = ApiKey(shown.pop("key"))
    assert shown == {"key_id": key.key_id, "role": role}
    assert who_it_opens_to(data, key) is not None


def test_keys_are_listed_without_their_secrets(data: Path) -> None:
    key, other = made(data, "platform", "p-1"), made(data, "officer", "王芳")
    first, second = listed(data)
    assert first.keys() == {
        "key_id",
        "role",
        "platform_id",
        "label",
        "created_at",
        "revoked_at",
    }
    assert (first["key_id"], first["role"], first["platform_id"]) == (
        key.key_id,
        "platform",
        "p-1",
    )
    assert (second["key_id"], second["platform_id"], second["label"]) == (
        other.key_id,
        None,
        "王芳",
    )
    assert first["revoked_at"] is second["revoked_at"] is None
    for shown in (json.dumps([first, second]), run(data, "list").stdout):
        for each in (key, other):
            assert each.key_id in shown
            assert each.text.split("_", 3)[3] not in shown


def test_a_revoked_key_opens_nothing_and_stays_on_the_list(data: Path) -> None:
    key, other = (made(data, "platform", "p-1") for _ in range(2))
    assert run(data, "revoke", key.key_id).exit_code == 0
    assert who_it_opens_to(data, key) is None
    assert who_it_opens_to(data, other) is not None
    states = {row["key_id"]: row["revoked_at"] is None for row in listed(data)}
    assert states == {key.key_id: False, other.key_id: True}
    lines = {line.split()[0]: line.split()[2] for line in run(data, "list").stdout.splitlines()}
    assert lines == {key.key_id: "revoked", other.key_id: "valid"}


def test_a_key_that_nobody_has_cannot_be_revoked(data: Path) -> None:
    made(data, "platform", "p-1")
    assert "no key with that id" in refusal(data, "revoke", "00000000")


@pytest.mark.parametrize(
    "command", [["platform", "p-1"], ["officer", "王芳"], ["list"], ["revoke", "00000000"]]
)
def test_a_folder_that_is_not_there_is_not_made(data: Path, command: list[str]) -> None:
    """A slip of the pen in its name would make a key that opens nothing."""
    missing = data / "missing"
    assert "does not exist" in refusal(missing, *command)
    assert not missing.exists()


@pytest.mark.parametrize(
    "platform_id", ["", " ", "a b", "a/b", "p-1\n", "平台", "é", "x" * 65, "\x1b[2J"]
)
def test_a_platforms_id_is_what_the_log_can_hold(data: Path, platform_id: str) -> None:
    """Under another one every session of the platform would be refused, months later."""
    assert "platform's id is not 1 to 64" in refusal(data, "platform", platform_id)
    assert [path.name for path in data.iterdir()] == ["keys"]


@pytest.mark.parametrize("platform_id", ["x", "x" * 64, "Cook_2026.03:a-b"])
def test_ids_that_are_good(data: Path, platform_id: str) -> None:
    assert who_it_opens_to(data, made(data, "platform", platform_id)) is not None


def origins(data: Path, *arguments: str) -> list[str]:
    result = run(data, "origins", "p-1", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[str] = json.loads(result.stdout)["origins"]
    return found


def test_whose_pages_embed_the_frame_is_said_with_the_key_or_later(data: Path) -> None:
    made(data, "platform", "p-1", "--origin", "https://a.example", "--origin", "https://b.example")
    assert origins(data) == ["https://a.example", "https://b.example"]
    made(data, "platform", "p-1")  # another key changes nothing
    assert origins(data) == ["https://a.example", "https://b.example"]
    assert origins(data, "--origin", "https://c.example:8443") == ["https://c.example:8443"]
    assert run(data, "origins", "p-1").stdout == "https://c.example:8443\n"
    assert origins(data, "--none") == []


def test_what_is_no_origin_makes_no_key(data: Path) -> None:
    assert "https://host" in refusal(data, "platform", "p-1", "--origin", "https://a.example/x")
    assert listed(data) == []
    made(data, "platform", "p-1")
    refusal(data, "origins", "p-1", "--origin", "*")
    refusal(data, "origins", "p-1", "--origin", "https://a.example", "--none")
    refusal(data, "origins", "p-2", "--origin", "https://a.example")
    assert origins(data) == []
