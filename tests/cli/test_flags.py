"""The command line speaks in flags: what the library says of its arguments is said of flags."""

import warnings

import pytest

from feyngd import cli
from feyngd.cli._flags import in_flags
from feyngd.cli._main import _parser
from feyngd.cli._options import check_order_cost
from feyngd.errors import ArgumentError

FLAGS = {
    "N": "-N",
    "B": "-B",
    "E": "-E",
    "T": "-T",
    "sampling": "--sampling",
    "seed": "--seed",
    "num_samples": "--num-samples",
    "learning_rates": "--learning-rates",
    "limit": "--limit",
    "runs": "--runs",
    "model": "--model",
}


@pytest.mark.parametrize(
    ("said", "in_words"),
    [
        ("N=7 is not a multiple of B=2: use B=1 or 7.", "-N 7 is not a multiple of -B 2: use -B 1 or 7."),
        ("or sampling='with-replacement' with T steps", "or --sampling with-replacement with -T steps"),
        ("got E=2, T=4.", "got -E 2, -T 4."),
        ("T=3 is T·B/N = 3*B/N epochs: give E instead.", "-T 3 is T·B/N = 3*B/N epochs: give -E instead."),
        ("signs are random: give key=jax.random.key(0).", "signs are random: give --seed 0."),
        ("give key=jax.random.key(seed), not None.", "give --seed 0, not None."),
        ("for full batch use Spacetime.gd.", "for full batch use --sampling full-batch."),
        ("num_samples is an integer ≥ 2, got 0.", "--num-samples is an integer ≥ 2, got 0."),
        ("runs is an integer ≥ 2, got 1.", "--runs is an integer ≥ 2, got 1."),
        ("limit must be from 1 to 9, or None; got 0.", "--limit must be from 1 to 9; got 0."),
        ("There are 9, more than limit=5: stop.", "There are 9, more than --limit 5: stop."),
        ("Unknown model 'x'; there are 'y'.", "Unknown --model 'x'; there are 'y'."),
        ("learning_rates=[1, 2] (N=3)", "--learning-rates [1, 2] (-N 3)"),
        ("Use B ≤ N, at N/B steps, E·N/B", "Use B ≤ N, at N/B steps, E·N/B"),
        ("the runs, the limit, the model and N points", "the runs, the limit, the model and N points"),
        ("replicates=3 and order is 4", "replicates=3 and order is 4"),
        ("down_sampling='x', minN=3, s.N=3", "down_sampling='x', minN=3, s.N=3"),
    ],
)
def test_python_words_become_flags(said: str, in_words: str) -> None:
    assert in_flags(said, FLAGS) == in_words


def test_words_of_other_commands_are_left() -> None:
    said = "key=jax.random.key(0), Spacetime.gd, N=3, num_samples=4"
    assert in_flags(said, {"quiet": "--quiet"}) == said


def error_of(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    try:
        status = cli.main(arguments)
    except SystemExit as left:
        status = left.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("series -N 0", "-N 0 is not allowed: give a whole number ≥ 1"),
        ("series -N -3", "-N -3 is not allowed"),
        ("series -B 0", "-B 0 is not allowed"),
        ("series -E -1", "-E -1 is not allowed: give a whole number ≥ 0"),
        ("series -N eta", "-N eta is the name of the learning rate"),
        ("series -N η", "-N η is the name of the learning rate"),
        ("series gap --format sympy -N GG", "Among B, E, GG is a name that stands for something else"),
        ("series -N 10 -B 3", "Use -B 1 or 2 or 5 or 10, or --sampling with-replacement with -T steps"),
        ("series -T T", "give -E instead"),
        ("series -E 2 -T 4", "got -E 2, -T 4"),
        (
            "series --sampling fixe",
            "Unknown --sampling 'fixe'. Known: 'reshuffled', 'fixed', 'with-replacement', 'full",
        ),
        ("series --sampling fixe", "Did you mean 'fixed'?"),
        ("series --basis moments", "Unknown --basis 'moments'. Known: 'moment', 'cumulant'. Did you mean 'moment'?"),
        ("series --format txt", "Did you mean 'text'?"),
        ("series --order 7", "has 62,503 diagrams"),
        ("series --order 7", "give --order 6 or lower"),
        ("series gap --order 6", "give --order 5 or lower"),
        ("series --order 1000", "give a lower --order"),
        ("predict --order 9", "give --order 6 or lower"),
        ("diagrams 9", "There are 7,075,470 diagrams of order 9"),
        ("diagrams 9", "--limit 7075470 for all"),
        ("diagrams 7 --root-tied", "There are 257,245 diagrams of order 7"),
        ("diagrams 15", "too many to list even in part"),
        ("diagrams 1000", "too many to list"),
        ("diagrams 3 --limit 0", "--limit is an integer ≥ 1, got 0"),
        ("diagrams 3 --limit -2", "--limit is an integer ≥ 1, got -2"),
        ("predict -N n", "-N n is a symbol, and training runs only on a concrete spacetime: give a whole number"),
        ("predict -N 0", "-N 0 is not allowed"),
        ("predict --seed -1", "--seed -1 is not"),
        ("predict --seed 4294967296", "--seed 4294967296 is not"),
        ("anchor -N 0", "-N is an integer ≥ 1, got 0"),
        ("anchor -B 4 0", "-B is an integer ≥ 1, got 0"),
        ("anchor --steps -160", "--steps is an integer ≥ 1, got -160"),
        ("anchor -B 3", "-N 400 is not a multiple of -B 3"),
        ("anchor --momentum 0.9", "--momentum is an option of series and predict, and not of this command"),
        ("sweep a.toml --drop-last=True", "--drop-last is an option of series and predict and anchor and advise, and"),
        ("predict --momentum 1", "--momentum is the share of the velocity that a step keeps, 0 ≤ β < 1; got 1"),
        ("predict --momentum much", "--momentum much is no number: give one such as 0.9 or 9/10"),
        ("predict --nesterov", "--nesterov is a momentum: give --momentum 0.9 with it"),
        ("predict --ema 1", "--ema is the share ρ that a step keeps"),
        (
            "predict --schedule sine",
            "--schedule sine is neither cosine nor linear, nor a file that can be read (No such",
        ),
        ("predict --schedule linear --warmup 12", "A warm-up of 12 steps leaves none of 10"),
        ("predict --warmup 2", "A warm-up comes before a cosine or a line"),
        ("series --momentum N -N N", "--momentum N is the name of something else in the formula"),
        ("series --schedule linear", "A schedule has a multiplier for every step"),
        ("anchor --seed -1", "--seed -1 is not"),
        ("advise -N 0", "-N is an integer ≥ 1, got 0"),
        ("advise -E 0", "-E is an integer ≥ 1, got 0"),
        ("advise -B 3", "-N 400 is not a multiple of -B 3"),
        ("advise --sampling full-batch", "Known: 'reshuffled', 'fixed', 'with-replacement'."),
        ("seris", "unknown command 'seris': did you mean series?"),
        ("xyz", "unknown command 'xyz'; there are demo, series, diagrams"),
        ("--seed 3 series", "--seed is no option of feyngd itself: options come after the command"),
        ("series --ordr 3", "feyngd series: error: unknown option '--ordr': did you mean --order?"),
        ("predict --learning-rat=3 --lerning-rates=3", "did you mean --learning-rates?"),
        ("diagrams 2 3", "unknown argument '3'"),
    ],
)
def test_what_is_refused_is_named_by_its_flag(capsys, monkeypatch, tmp_path, arguments: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in error_of(capsys, *arguments.split())
    assert not list(tmp_path.iterdir())


def test_costs_count_tied_roots_where_a_series_has_them() -> None:
    check_order_cost(5, "gap")
    check_order_cost(6, "test_loss")
    for order, quantity in ((6, "gap"), (6, "train_loss"), (7, "test_loss")):
        with pytest.raises(ArgumentError, match=f"give --order {order - 1} or lower"):
            check_order_cost(order, quantity)


def test_symbols_and_zeros_that_mean_something(capsys) -> None:
    assert cli.main(["series", "gap", "--order", "1", "-N", "N"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["η^1", "-E/B", "[a]", "GG"]
    assert cli.main(["series", "--sampling", "full-batch", "-T", "0", "-N", "points"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "test_loss to order η^2, moment basis, full batch, N=points, T=0",
        "  η^0   1   []   l",
    ]


def test_first_diagrams_of_many(capsys) -> None:
    assert cli.main(["diagrams", "9", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines[:2]] == ["[a a a a a a a a a", "[a a a a b b b b b"]
    assert lines[2:] == ["the first 2 of 7075470 diagrams of order 9"]
    assert cli.main(["diagrams", "2", "--limit", "9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 diagrams of order 2; the independent count is 4"


def test_long_work_says_so_before_it_starts(capsys, monkeypatch) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("feyngd.series.expand", stop)
    assert cli.main(["series", "--order", "6"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "feyngd: 6,685 diagrams up to order 6, each with a closed form to find: this takes minutes",
        "feyngd: interrupted",
    ]
    assert cli.main(["series", "--order", "5"]) == 130
    assert capsys.readouterr().err == "feyngd: interrupted\n"


def test_warnings_are_one_line_in_flags(capsys, monkeypatch) -> None:
    def warn(*_, **__):
        warnings.warn("few draws: give num_samples=99 and order is 2, or N=9", UserWarning, stacklevel=2)
        raise MemoryError

    shown = warnings.showwarning
    monkeypatch.setattr("feyngd.series.expand", warn)
    assert cli.main(["series"]) == 3
    assert capsys.readouterr().err.splitlines() == [
        "feyngd: warning: few draws: give num_samples=99 and order is 2, or -N 9",
        "feyngd: memory ran out: take a smaller problem, or fewer runs",
    ]
    assert warnings.showwarning is shown


@pytest.mark.parametrize("command", ["demo", "series", "diagrams", "predict", "sweep", "anchor", "advise", "reproduce"])
def test_help_shows_every_default(command: str) -> None:
    actions = _parser().commands[command]._actions
    optional = {"svg", "cifar10", "fashion_mnist"}  # nothing is drawn or read without them
    taking = [action for action in actions if action.option_strings and action.nargs != 0]
    assert taking
    for action in taking:
        assert "default" in action.help or action.dest in optional, action


def test_help_says_what_exit_statuses_mean(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {status:<5}" in said for status in (0, 1, 2, 3, 130, 141))
