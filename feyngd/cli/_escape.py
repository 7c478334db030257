"""`feyngd escape`: the barriers between two checkpoints of a network, and how long noise takes to cross them."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import ArgumentError
from ._ending import leaves
from ._landscape_file import landscape_and_measurements_from
from ._options import Parser, bars, check_seed

_EXAMPLE = """examples:
  $ cat own.py
  import numpy as np, feyngd as fd
  from feyngd.landscapes import toys
  landscape, params = toys.double_well()
  if __name__ == "__main__":
      np.savez("a.npz", -1.0), np.savez("b.npz", 0.9)
  $ python own.py
  $ feyngd escape a.npz b.npz --landscape own.py -B 1 --learning-rate 0.06
      the path between both, its barriers, and the mean number of steps over each; escape.png and .json in ./escape
"""


def add_escape(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "find the barriers between two checkpoints, and escape times", _EXAMPLE)
    parser.add_argument("start", metavar="A.npz", help="parameters, one array for every leaf in the order of JAX")
    parser.add_argument("end", metavar="B.npz", help="other parameters, likewise")
    parser.add_argument(
        "--landscape",
        required=True,
        metavar="FILE.py",
        help="defines `landscape`, and `params`, which show the structure; `measurements`, such as accuracies, too",
    )
    parser.add_argument("--out", default="escape", metavar="FOLDER", help="where the files go (default ./escape)")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON in place of the text")
    parser.add_argument("-B", type=int, help="batch size of SGD (default: full gradients)")
    parser.add_argument("-D", type=float, help="injected noise D of SGLD (default: none)")
    parser.add_argument(
        "--learning-rate", type=float, nargs="+", default=[0.1], metavar="η", help="one or more (default 0.1)"
    )
    parser.add_argument("--images", type=int, default=31, help="of the path (default 31)")
    parser.add_argument("--align", help="permutation: match hidden units first (default: no)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _run(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable, replace_file, write_json
    from ..companions import escape
    from ..drawing import drawn, new_figure, require_matplotlib

    check_seed(options)
    noises = ([escape.sgd(options.B)] if options.B is not None else []) + (
        [escape.sgld(options.D)] if options.D is not None else []
    )
    folder = check_writable(options.out)
    require_matplotlib()
    leaves(options, folder)
    for_path, for_times = jax.random.split(jax.random.key(options.seed))
    with jax.enable_x64(True):
        landscape, params, measurements = landscape_and_measurements_from(options.landscape)
        ends = [_checkpoint(path, params) for path in (options.start, options.end)]
        path = escape.find_path(
            landscape, *ends, images=options.images, align=options.align, progress=bars(options), key=for_path
        )
        noise = sum(noises[1:], start=noises[0]) if noises else None
        rates = options.learning_rate if noises else None
        report = escape.escape_report(
            landscape, path, noise, rates, measurements=measurements, **({"key": for_times} if noises else {})
        )
        figure, axes = new_figure(2 + len(report.measured))
        path.plot(axes[0, 0])
        report.plot(axes[0, 1:])
        picture = drawn(figure, "png")
    record = {
        "landscape": Path(options.landscape).name,
        "seed": options.seed,
        "version": __version__,
        **report.to_dict(),
    }
    replace_file(folder / "escape.png", picture)
    write_json(folder / "escape.json", record)
    if options.json:
        print(json.dumps(record, indent=1, allow_nan=False))
    else:
        parts = [str(path), str(report), *(f"leg {i + 1}: {time}" for i, time in enumerate(report.times))]
        print("\n".join([*parts, "", f"written: {folder / 'escape.png'}, {folder / 'escape.json'}"]))
    return 0


def _checkpoint(path: str, params: Any) -> Any:
    """Return parameters from a file with one array for every leaf.

    Raises:
        ArgumentError: there is no such file, or its arrays are not those of the parameters.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    expected, structure = jax.tree.flatten(params)
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = [kept[name] for name in kept.files]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{path!r} is no NPZ file of arrays: write it with numpy.savez(path, *leaves).") from error
    shapes, wanted = [leaf.shape for leaf in found], [np.shape(leaf) for leaf in expected]
    if shapes != wanted:
        raise ArgumentError(f"{path!r} has arrays of shapes {shapes}, and `params` leaves of {wanted}: give those.")
    return jax.tree.unflatten(structure, [jnp.asarray(leaf, float) for leaf in found])
