"""Series of variances: their coefficients against placements that are listed, their form and their files."""

from fractions import Fraction
from itertools import product

import pytest
import sympy

import feyngd as fd
from feyngd import Forest, Spacetime

N, B, E = sympy.symbols("N B E", integer=True, positive=True)


def count_placements(forest, batches):
    """List all maps of the steps of a forest to cells, and count those that Theorem 1 allows."""
    cells = [(point, time) for time, batch in enumerate(batches) for point in batch]
    inner = [node for node in range(1, len(forest.parents)) if node not in forest.roots]
    found = 0
    for chosen in product(cells, repeat=len(inner)):
        at = dict(zip(inner, chosen, strict=True))
        earlier = all(at[node][1] < at[up][1] for node in inner if (up := forest.parents[node]) in at)
        tied = all(
            (at[a][0] == at[b][0]) == (forest.labels[a] == forest.labels[b]) for a, b in product(inner, repeat=2)
        )
        found += earlier and tied
    return found


@pytest.mark.parametrize("batches", [[[0, 1], [2, 3], [0, 1]], [[0], [1], [0], [2]]])
def test_second_moments_count_placements_of_both_trees(batches):
    spacetime = Spacetime.from_batches(batches, N=4)
    series = fd.expand("test_loss_second_moment", order=3, spacetime=spacetime)
    size = len(batches[0])
    assert len(series) > 20
    for forest, coefficient in series.items():
        count = count_placements(forest, batches)
        # The trees of a pair are first and second: half of the automorphisms that may swap them.
        expected = Fraction(2 * count, forest.automorphisms) * Fraction(-1, size) ** forest.order
        assert Fraction(int(coefficient.p), int(coefficient.q)) == expected


def test_a_variance_in_cumulants_is_what_links_the_trees():
    for spacetime in (Spacetime.sgd(N, B, E), Spacetime.gd(N, E)):
        series = fd.expand("test_loss_variance", order=4, spacetime=spacetime, basis="cumulant")
        assert all(forest.is_linked for forest in series)
    # With replacement, how often points come again is left to chance, and both trees gain from it at once.
    chance = Spacetime.sgd(N, B, E, sampling="with-replacement")
    series = fd.expand("test_loss_variance", order=4, spacetime=chance, basis="cumulant")
    assert {str(forest) for forest in series if not forest.is_linked} == {
        "[a a] [b b]",
        "[a a] [b[b]]",
        "[a[a]] [b[b]]",
    }


def test_leading_variances():
    series = fd.expand("covariance", order=2, spacetime=Spacetime.sgd(N, B, E), basis="cumulant")
    assert dict(series) == {Forest.parse("[a] [a]"): E**2 * N / B**2}
    assert str(series).splitlines()[1].split() == ["η^2", "E**2*N/B**2", "[a]", "[a]", "C_ij"]
    once = fd.expand("test_loss_variance", order=2, spacetime=Spacetime.sgd(N, B), basis="cumulant")
    assert once.latex() == r"\frac{N}{B^{2}}\, \eta^{2}\, GCG + O(\eta^{3})"
    assert str(once.value_symbol(Forest.parse("[a] [a]"))) == "GCG"
    train = fd.expand("train_loss_variance", order=0, spacetime=Spacetime.gd(N, 1), basis="cumulant")
    assert dict(train) == {Forest.parse("a[] a[]"): 1 / N}


def test_the_variance_is_the_second_moment_less_the_square_of_the_mean():
    spacetime = Spacetime.sgd(N=3, E=2)
    variance, squared = (
        fd.expand(f"test_loss_{name}", order=3, spacetime=spacetime) for name in ("variance", "second_moment")
    )
    mean = fd.expand("test_loss", order=3, spacetime=spacetime)
    for forest, left in (squared - variance).items():
        one, other = forest.trees
        assert not forest.is_linked
        assert left == mean[one] * mean[other] * (1 if one == other else 2)


@pytest.mark.parametrize("quantity", ["train_loss_variance", "covariance", fd.variance(fd.measurement("margin"))])
def test_files_go_round(quantity, tmp_path):
    series = fd.expand(quantity, order=2, spacetime=Spacetime.sgd(N, B, E))
    series.save(tmp_path / "series.json")
    again = fd.Series.load(tmp_path / "series.json")
    assert again == series
    assert type(again.quantity) is type(series.quantity)
    assert str(again) == str(series)


def test_bases_and_symbols_go_round():
    series = fd.expand("train_loss_variance", order=2, spacetime=Spacetime.sgd(N, B, E))
    assert series.in_basis("cumulant").in_basis("moment") == series
    assert series.subs({N: 6, B: 2, E: 1}) == fd.expand("train_loss_variance", order=2, spacetime=Spacetime.sgd(6, 2))


def test_what_has_no_series_is_refused():
    spacetime = Spacetime.sgd(N=4)
    with pytest.raises(fd.ArgumentError, match="noise drawn anew"):
        fd.expand("covariance", order=1, spacetime=spacetime, per_use_noise=True)
    with pytest.raises(fd.ArgumentError, match="Unknown quantity"):
        fd.expand("covariance", order=1, spacetime=spacetime, resummed=True)
    with pytest.raises(fd.ArgumentError, match="points are alike"):
        fd.expand("covariance", order=1, spacetime=Spacetime.sgd(4, sampling="fixed"), reading="conditional")
    with pytest.raises(fd.ArgumentError, match="measurement of your own"):
        fd.variance("test_loss")
    with pytest.raises(fd.ArgumentError, match="no sum"):
        fd.expand("covariance", order=2, spacetime=spacetime) + fd.expand("gap", order=2, spacetime=spacetime)
    series = fd.expand("covariance", order=2, spacetime=spacetime)
    with pytest.raises(KeyError, match="Forest"):
        series[fd.Diagram.parse("[a a]")]
    with pytest.raises(fd.ArgumentError, match="re-summed"):
        fd.resum(series)
