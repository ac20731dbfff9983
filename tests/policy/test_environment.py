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
