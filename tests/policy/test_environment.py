"""The environment of agents and checks is stated: nothing gets in that nobody named."""

from auto_build.policy.environment import Environment, Seat

SEAT = Seat(spec="001-search", chunk="api/1", attempt=2, worker=3)
OURS = {
    "AUTO_BUILD_SPEC": "001-search",
    "AUTO_BUILD_CHUNK": "api/1",
    "AUTO_BUILD_ATTEMPT": "2",
    "AUTO_BUILD_WORKER": "3",
    "GIT_CEILING_DIRECTORIES": "/repo/.worktrees",
    "GIT_TERMINAL_PROMPT": "0",
}
INHERITED = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "ANTHROPIC_API_KEY": "dummy",
    "AWS_PROFILE": "work",
    "DATABASE_URL": "postgres://",
    "PYTHONPATH": "/elsewhere",
    "GIT_DIR": "/elsewhere/.git",
    "GIT_CEILING_DIRECTORIES": "/",
    "AUTO_BUILD_CHUNK": "another",
}


def agent(environment: Environment) -> dict[str, str]:
    return environment.for_agent(SEAT, "/repo/.worktrees")


def check(environment: Environment) -> dict[str, str]:
    return environment.for_check(SEAT, "/repo/.worktrees")


def test_an_agent_gets_what_programs_need_and_its_keys() -> None:
    assert agent(Environment(INHERITED)) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "ANTHROPIC_API_KEY": "dummy",
        "AWS_PROFILE": "work",
        **OURS,
    }


def test_a_check_gets_no_keys() -> None:
    assert check(Environment(INHERITED)) == {"PATH": "/bin", "LC_ALL": "C", **OURS}


def test_what_the_settings_pass_on_reaches_both() -> None:
    environment = Environment(INHERITED, passed=("DATABASE_*", "PYTHONPATH"))
    for stated in (agent(environment), check(environment)):
        assert stated["DATABASE_URL"] == "postgres://"
        assert stated["PYTHONPATH"] == "/elsewhere"


def test_no_inherited_git_variable_ever_gets_through() -> None:
    stated = agent(Environment(INHERITED, passed=("*",)))
    assert "GIT_DIR" not in stated
    assert stated["GIT_CEILING_DIRECTORIES"] == "/repo/.worktrees"


def test_what_the_settings_set_wins_over_what_is_inherited_but_not_over_ours() -> None:
    environment = Environment(
        INHERITED, set={"PATH": "/opt/bin", "PORT": "8000", "AUTO_BUILD_CHUNK": "mine"}
    )
    stated = check(environment)
    assert (stated["PATH"], stated["PORT"]) == ("/opt/bin", "8000")
    assert stated["AUTO_BUILD_CHUNK"] == "api/1"


def test_names_are_told_apart_by_case() -> None:
    stated = check(Environment({"http_proxy": "a", "HTTP_PROXY": "b", "Path": "c"}))
    assert (stated["http_proxy"], stated["HTTP_PROXY"]) == ("a", "b")
    assert "Path" not in stated


# --- secrets --------------------------------------------------------------------------------------


def test_a_secret_reaches_checks_and_no_agent() -> None:
    environment = Environment(INHERITED, passed=("DATABASE_*",), secrets=("DATABASE_URL",))
    assert check(environment)["DATABASE_URL"] == "postgres://"
    assert "DATABASE_URL" not in agent(environment), "although a pattern would pass it on"


def test_a_secret_that_an_agent_lists_reaches_it() -> None:
    environment = Environment(
        INHERITED, secrets=("DATABASE_URL", "AWS_PROFILE"), shown=("DATABASE_URL",)
    )
    assert agent(environment)["DATABASE_URL"] == "postgres://"
    assert "AWS_PROFILE" not in agent(environment), "although known agents look there"


# --- what differs from slot to slot ---------------------------------------------------------------


def in_slot(worker: int, **per_slot: str) -> dict[str, str]:
    environment = Environment(INHERITED, per_slot=per_slot, first_port=21_000, ports=10)
    return environment.for_check(Seat("s", "c", 1, worker, f"/slots/{worker}"), "/")


def test_each_slot_has_ports_of_its_own() -> None:
    first, second = in_slot(1), in_slot(2)
    assert (first["AUTO_BUILD_PORT"], second["AUTO_BUILD_PORT"]) == ("21000", "21010")
    assert first["AUTO_BUILD_PORT_COUNT"] == "10"


def test_what_stands_in_braces_is_the_slots_own_or_another_variable() -> None:
    stated = in_slot(
        2,
        PATH="{worktree}/.venv/bin:{PATH}",
        PORT="{port}",
        DATABASE_URL="postgres://app_{worker}",
        CONFIG='{"a": 1}',
        NOTHING="<{NOT_SET}>",
    )
    assert stated["PATH"] == "/slots/2/.venv/bin:/bin"
    assert stated["PORT"] == "21010"
    assert stated["DATABASE_URL"] == "postgres://app_2"
    assert stated["CONFIG"] == '{"a": 1}'
    assert stated["NOTHING"] == "<>"


def test_what_runs_in_no_slot_has_no_port() -> None:
    assert "AUTO_BUILD_PORT" not in check(Environment(INHERITED, first_port=21_000, ports=10))
