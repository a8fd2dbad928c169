"""The command line as a process: what it imports, pipes, interrupts, and failures of the program itself."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from theorykit.cli import app as app_module
from theorykit.cli.output import progress

COMMAND = [sys.executable, "-m", "theorykit.cli"]


def process(*arguments, environment=None, command=COMMAND):
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_json_in_a_pipe():
    done = process("rank-select", "--n", 1000, "--json", "--budget", 0.5, environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert document["command"] == "rank-select"
    assert document["result"]["ranks"]


def test_no_colours_in_a_pipe_and_question_marks_in_ascii():
    environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONIOENCODING": "ascii"}
    done = process("rank-select", "--n", 1000, environment=environment)
    assert done.returncode == 0
    assert "576 ? 576" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_bad_input_as_a_process():
    done = process("rank-select", "--n", 0)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: n = '0' has to be finite and above 0\nhint: give --n 100000\n"


def test_torch_is_not_imported_without_need():
    code = (
        "import sys\n"
        "from theorykit.cli.app import main\n"
        "for arguments in ('--help', '--version', 'spectrum -h', 'rank-select --n 1000 -q'):\n"
        "    try:\n        main(arguments.split())\n"
        "    except SystemExit as ended:\n        code = ended.code\n"
        "    heavy = {'torch', 'transformers', 'pandas', 'matplotlib', 'sympy'} & set(sys.modules)\n"
        "    sys.stderr.write(f'{code} {sorted(heavy)} ')\n"
    )
    done = process(command=[sys.executable, "-c", code])
    assert done.stderr == "0 [] " * 4
    assert done.stdout


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_error(form):
    with subprocess.Popen(
        [*COMMAND, "rank-select", "--n", "1000", "-q", *form], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.wait(timeout=120) == 0
        assert running.stderr.read() == b""


def interrupted(running):
    """Interrupt until the process ends: Python drops an interrupt that falls into a destructor."""
    for _ in range(10):
        running.send_signal(signal.SIGINT)
        try:
            return running.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("the process does not end on an interrupt")


def heed_interrupts():
    """Undo what a shell does to jobs in the background: they and their children ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_ends_with_130_and_leaves_no_file(tmp_path):
    pipe, output = tmp_path / "text", tmp_path / "out.json"
    os.mkfifo(pipe)
    arguments = ["rank-select", "--n", "10", "--model", "./model", "--calibration", str(pipe), "-o", str(output)]
    with (
        subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
        ) as running,
        open(pipe, "w"),  # returns once the command has begun to read its text
    ):
        time.sleep(0.2)
        out, err = interrupted(running)
    assert running.returncode == 130
    assert (out, err) == (b"", b"interrupted\n")
    assert not output.exists()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["rank-select", "--help"], ["spectrum", "-h"], ["--version"]]
)
def test_help_and_version(run, arguments):
    done = run(*arguments)
    assert (done.code, done.err) == (0, "")
    assert "theorykit" in done.out


def test_no_arguments_show_the_help_as_wrong_usage(run):
    done = run()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: theorykit")
    assert "rank-select" in done.err
    assert len(done.err.splitlines()) > 5


def test_progress_is_shown_on_a_terminal(llama_folder, tmp_path):
    terminal, other_end = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "spectrum", str(llama_folder), "--device", "cpu", "--json"],
            env=os.environ | {"THEORYKIT_CACHE": str(tmp_path), "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=other_end,
            timeout=120,
            check=True,
        )
        shown = b""
        while select.select([terminal], [], [], 0)[0]:
            shown += os.read(terminal, 65536)
    finally:
        os.close(terminal)
        os.close(other_end)
    assert json.loads(done.stdout)["command"] == "spectrum"
    assert b"spectra" in shown
    assert b"16/16" in shown


@pytest.mark.parametrize(("terminal", "quiet"), [(True, True), (False, False)])
def test_no_progress_where_quiet_or_in_pipes(capsys, monkeypatch, terminal, quiet):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress(quiet=quiet) as bar:
        bar("spectra", 1, 2)
        bar.below()("layers", 2, 2)
    assert capsys.readouterr() == ("", "")


def break_with(error):
    def broken(*_, **__):
        raise error

    return broken


def test_a_failure_of_the_program(run, monkeypatch):
    from theorykit.rank_selection import selection

    monkeypatch.setattr(selection, "select_ranks", break_with(RuntimeError("something\nbroke")))
    done = run("rank-select", "--n", 10)
    assert done.code == 1
    assert done.out == ""
    assert done.err.splitlines() == [
        "error: the program failed: RuntimeError: something broke",
        "hint: run again with --debug for the traceback",
    ]


@pytest.mark.parametrize("error", [RuntimeError("broke"), ValueError("broke")])
def test_debug_shows_the_traceback(monkeypatch, error):
    from theorykit.rank_selection import selection

    monkeypatch.setattr(selection, "select_ranks", break_with(error))
    with pytest.raises(type(error), match="broke"):
        app_module.main(["rank-select", "--n", "10", "--debug"])


def test_debug_shows_the_traceback_of_bad_input():
    done = process("rank-select", "--n", 0, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "InputError: n = '0'" in done.stderr


def test_an_interrupt_in_the_work(run, monkeypatch, tmp_path):
    from theorykit.rank_selection import selection

    monkeypatch.setattr(selection, "select_ranks", break_with(KeyboardInterrupt()))
    done = run("rank-select", "--n", 10, "-o", tmp_path / "out.json")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []
