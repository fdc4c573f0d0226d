"""Novelty search, SERENE, TAXONS and STAX: single generations by hand, and what must be equal to what."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.archives import Archive
from guerdon.control.emitters import FitnessEmitter, emitter_sigma, improvement, stagnated
from guerdon.control.learned_descriptors import IdentityEncoder, ImageEncoder, Stax, Taxons
from guerdon.control.novelty import coverage, novelty
from guerdon.control.search_methods import Evaluation, NoveltySearch, Settings, run_search
from guerdon.control.serene import Serene
from guerdon.control.worlds.redundant_arm import RedundantArm

SMALL = Settings(population=20, chunk=200, sigma=0.2, k=5)


def rewarded(genomes: np.ndarray) -> Evaluation:
    """The first two genes are the behaviour; a reward right of 1, which grows with the third gene."""
    reward = np.where(genomes[:, 0] > 1.0, np.exp(-np.abs(genomes[:, 2] - 2)), 0.0)
    return Evaluation(reward, genomes[:, :2], genomes[:, :2], genomes[:, :2])


def unrewarded(genomes: np.ndarray) -> Evaluation:
    found = rewarded(genomes)
    return Evaluation(np.zeros(len(genomes)), found.bd, found.observation, found.position)


def test_worked_examples_of_emitters() -> None:
    means = [1 / 30, 0.1, 0.2, 0.3, 0.4, 16 / 30]
    populations = [[mean - 0.01, mean + 0.01] for mean in means]
    assert improvement(populations) == pytest.approx(0.3)
    assert improvement(populations[::-1]) == 0.0
    assert improvement([[0.5, 0.5]] * 6) == 0.0
    assert emitter_sigma([1, 1], [[0, 0], [1, 1], [1, 1.6]]) == pytest.approx(0.2)
    assert emitter_sigma([1, 1], [[1, 1], [1, 1]]) == 0.05
    assert emitter_sigma([1, 1], [[1, 1]], fallback=0.1) == 0.1
    with pytest.raises(ValueError, match="at least one population"):
        improvement([])


def test_stagnation_compares_the_ends_of_the_window() -> None:
    window = int(20 * 3 / 6 + 120)
    rising = np.arange(window * 2.0).reshape(window, 2)
    assert not stagnated(rising, 3)
    assert not stagnated(np.zeros((window - 1, 2)), 3)
    assert stagnated(np.zeros((window, 2)), 3)
    # What came before the window does not count.
    assert not stagnated(np.concatenate((np.full((5, 2), 1e6), rising)), 3)
    one_peak = rising.copy()
    one_peak[0, 0] = 1e6
    assert stagnated(one_peak, 3)


def test_an_emitter_keeps_the_best_and_deposits_what_is_better() -> None:
    emitter = FitnessEmitter(np.zeros(3), 0.3, max_steps=8, rng=3)
    best_so_far, deposited, known = 0.0, [], []
    for step in range(8):
        assert not emitter.stopped
        genomes = emitter.ask()
        assert genomes.shape == ((6 if step == 0 else 12), 3)
        reward = np.maximum(0.0, 1.0 - np.abs(genomes - 0.5).sum(1))
        known += reward.tolist()
        emitter.tell(genomes, reward)
        assert emitter.members.rewards() == pytest.approx(sorted(known, reverse=True)[:6])
        known = emitter.members.rewards().tolist()
        found = emitter.deposits()
        expected = known[:1] if best_so_far == 0 else [value for value in known if value > best_so_far]
        assert found.rewards() == pytest.approx([value for value in expected if value > 0])
        if len(found):
            deposited.append(found.rewards().max())
            best_so_far = deposited[-1]
    assert emitter.stopped
    assert emitter.improvement > 0
    assert deposited == sorted(set(deposited))
    assert emitter.values.shape == (8, 6)
    with pytest.raises(ValueError, match="tell came before ask"):
        emitter.tell(np.zeros((12, 3)), np.zeros(12))
    with pytest.raises(ValueError, match="sigma is 0"):
        FitnessEmitter([0.0], 0.0)


def test_a_generation_of_novelty_search_by_hand() -> None:
    rule = Settings(population=5, k=2, archived=2, sigma=0.1)
    search = NoveltySearch(2, rule, seed=4)
    search.tell(first := search.ask(), np.zeros(5))
    assert first.shape == (5, 2)
    assert len(search.archive) == 0
    for _ in range(3):
        before, parents = search.archive.bd().copy(), search.population.bd().copy()
        children = search.ask()
        assert np.array_equal(children, search.ask())
        assert children.shape == (10, 2)
        assert np.abs(children).max() <= 5
        search.tell(children, np.zeros(10))
        pool = np.concatenate((parents, children))
        worth = novelty(pool, np.concatenate([pool, before]) if len(before) else pool, 2)
        survivors = pool[np.argsort(-worth, kind="stable")[:5]]
        assert np.array_equal(search.population.bd(), survivors)
        new = search.archive.bd()[len(before) :]
        assert len(new) == 2
        assert all((children == row).all(1).any() for row in new)
    assert search.evaluations == {"explore": 35}


def test_the_most_novel_enter_where_asked_to() -> None:
    search = NoveltySearch(2, Settings(population=5, k=2, archived=2, archive_choice="best"), seed=1)
    search.tell(search.ask(), np.zeros(5))
    pool = np.concatenate((search.population.bd(), children := search.ask()))
    search.tell(children, np.zeros(10))
    worth = novelty(children, pool, 2)
    assert np.array_equal(search.archive.bd(), children[np.argsort(-worth, kind="stable")[:2]])


def test_rewards_do_not_steer_novelty_search() -> None:
    plain, other = (NoveltySearch(3, SMALL, seed=2) for _ in range(2))
    one = run_search(plain, rewarded, 500)
    two = run_search(other, unrewarded, 500)
    assert np.array_equal(one.position, two.position)
    assert one.reward.max() > 0


@pytest.mark.parametrize(("options", "evaluate"), [({"emitters": False}, rewarded), ({"emitters": True}, unrewarded)])
def test_serene_without_anything_to_exploit_is_novelty_search(options: dict, evaluate) -> None:  # type: ignore[no-untyped-def, type-arg]
    plain = run_search(NoveltySearch(3, SMALL, seed=5), evaluate, 1_000)
    serene = run_search(Serene(3, SMALL, seed=5, **options), evaluate, 1_000)
    assert np.array_equal(plain.position, serene.position)
    assert serene.evaluations == {"explore": plain.evaluations["explore"], "bootstrap": 0, "exploit": 0}


def test_stax_with_an_identity_encoder_is_serene() -> None:
    serene = run_search(Serene(3, SMALL, seed=6), rewarded, 2_000)
    stax = run_search(Stax(3, SMALL, seed=6, encoder=IdentityEncoder()), rewarded, 2_000)
    assert np.array_equal(serene.position, stax.position)
    assert serene.evaluations == stax.evaluations
    assert min(serene.evaluations.values()) > 0


def test_phases_take_turns_and_rewards_are_exploited() -> None:
    search = Serene(3, SMALL, seed=7)
    phases, used = [], 0
    while used < 3_000:
        phase, genomes = search.phase, search.ask()
        found = rewarded(genomes)
        exploring = phase == "explore"
        assert len(genomes) in ((20, 40) if exploring else (6, 12))
        search.tell(found.bd, found.reward)
        used += len(genomes)
        if not phases or phases[-1] != phase:
            phases.append(phase)
    assert sum(search.evaluations.values()) == used
    assert phases[:3] == ["explore", "bootstrap", "exploit"]
    assert phases.count("explore") > 3
    kept = search.reward_archive
    assert (kept.rewards() > 0).all()
    assert len(np.unique(kept.genomes(), axis=0)) == len(kept)
    assert kept.rewards().max() > 0.99
    assert len(set(search.candidates)) == len(search.candidates)
    plain = run_search(NoveltySearch(3, SMALL, seed=7), rewarded, 3_000)
    assert kept.rewards().max() > plain.reward.max()


def test_constant_rewards_make_no_emitter() -> None:
    def constant(genomes: np.ndarray) -> Evaluation:
        found = rewarded(genomes)
        return Evaluation((found.reward > 0).astype(float), found.bd, None, found.position)

    search = Serene(3, Settings(population=20, chunk=200, sigma=0.2, k=5), seed=8)
    record = run_search(search, lambda genomes: Evaluation(np.ones(len(genomes)), *[rewarded(genomes).bd] * 3), 1_500)
    assert search.emitters == ()
    assert record.evaluations["exploit"] == 0
    assert record.evaluations["bootstrap"] > 0
    assert run_search(Serene(3, SMALL, seed=8), constant, 500).evaluations["explore"] > 0


def test_stopped_emitters_feed_the_archive() -> None:
    rule = Settings(population=20, chunk=400, sigma=0.2, k=5, emitter_steps=8)
    search = Serene(3, rule, seed=9)
    run_search(search, rewarded, 3_000)
    generations = (search.evaluations["explore"] - 20) // 40
    assert len(search.archive) > generations * rule.archived
    assert search.archive.meta_names() == []


def test_never_over_budget_by_more_than_a_batch() -> None:
    for budget in (10, 321, 1_234):
        record = run_search(Serene(3, SMALL, seed=3), rewarded, budget)
        assert budget <= sum(record.evaluations.values()) < budget + 40
        assert len(record.reward) == len(record.position) == sum(record.evaluations.values())


def test_best_in_areas() -> None:
    arm = RedundantArm()
    record = run_search(NoveltySearch(20, SMALL, seed=0), arm, 300)
    areas = np.stack((np.ones(len(record.reward), bool), np.zeros(len(record.reward), bool)), axis=1)
    assert record.best_in(areas).tolist() == [record.reward.max(), 0.0]


def test_novelty_search_covers_more_than_random_draws() -> None:
    arm = RedundantArm()
    found = run_search(NoveltySearch(20, Settings(sigma=0.2), seed=0), arm, 6_000)
    drawn = arm.tips(np.random.default_rng(0).normal(size=(6_000, 20)))
    assert coverage(found.position, -1, 1, 50) > coverage(drawn, -1, 1, 50) + 0.1


class Scaling:
    """An encoder that doubles its scale with every training, so that stale descriptors show."""

    def __init__(self, surprise: bool = False) -> None:
        self.scale, self.trained = 1.0, []
        self.surprise = surprise

    def encode(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        seen = np.asarray(observations, dtype=float)
        return self.scale * seen, seen[:, 0] if self.surprise else None

    def train(self, observations: np.ndarray) -> None:
        self.trained.append(len(observations))
        self.scale *= 2


def test_the_encoder_is_trained_after_chunks_one_three_six_ten() -> None:
    encoder = Scaling()
    search = Taxons(3, SMALL, seed=1, encoder=encoder)
    at, chunk_ends, in_chunk = [], 0, 0
    for _ in range(70):
        before = len(encoder.trained)
        genomes = search.ask()
        search.tell(None, np.zeros(len(genomes)), genomes[:, :2])
        in_chunk += len(genomes)
        if in_chunk >= 200:
            chunk_ends, in_chunk = chunk_ends + 1, 0
        if len(encoder.trained) > before:
            at.append(chunk_ends)
    assert at == [1, 3, 6, 10]
    for stored in (search.archive, search.population, search.offspring):
        assert np.array_equal(stored.bd(), encoder.scale * stored.meta("observation"))


def test_everything_is_described_anew_after_a_training() -> None:
    encoder = Scaling()
    search = Stax(3, SMALL, seed=6, encoder=encoder)
    run_search(search, rewarded, 2_500)
    assert len(encoder.trained) >= 2
    for stored in search._stored():
        if len(stored):
            assert np.array_equal(stored.bd(), encoder.scale * stored.meta("observation"))
    assert len(search.reward_archive)


def test_survivors_by_surprise_when_the_coin_says_so() -> None:
    search = Taxons(2, Settings(population=10, k=3, chunk=10_000), seed=0, encoder=Scaling(surprise=True))
    kinds = set()
    for _ in range(12):
        genomes, parents = search.ask(), search.population.genomes()
        search.tell(None, np.zeros(len(genomes)), genomes)
        pool = np.concatenate((parents, genomes)) if len(parents) else genomes
        by_surprise = pool[np.argsort(-pool[:, 0], kind="stable")[:10]]
        kinds.add(np.array_equal(search.population.genomes(), by_surprise))
    assert kinds == {True, False}


def test_the_image_encoder_learns_and_is_reproducible() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 24, 80)
    pictures = np.zeros((80, 32, 32, 1), dtype=np.uint8)
    for row, left in enumerate(place):
        pictures[row, :, left : left + 8] = 255
    encoders = [ImageEncoder((32, 32, 1), 2, channels=(8, 8), epochs=30, batch=16, seed=3) for _ in range(2)]
    before = encoders[0].encode(pictures)[1]
    for encoder in encoders:
        encoder.train(pictures)
    code, error = encoders[0].encode(pictures)
    assert code.shape == (80, 2)
    assert error is not None
    assert before is not None
    assert error.mean() < 0.5 * before.mean()
    assert np.array_equal(code, encoders[1].encode(pictures)[0])
    frames = np.stack((pictures, pictures[::-1]), axis=1)
    many, sums = encoders[0].encode(frames)
    assert many == pytest.approx(np.concatenate((code, code[::-1]), axis=1), abs=1e-5)
    assert sums == pytest.approx(error + error[::-1], abs=1e-6)
    never = ImageEncoder((32, 32, 1), 2, epochs=0)
    untrained = never.encode(pictures)[0]
    never.train(pictures)
    assert np.array_equal(never.encode(pictures)[0], untrained)


def test_what_is_missing_is_said() -> None:
    search = NoveltySearch(2, SMALL)
    with pytest.raises(ValueError, match="tell came before ask"):
        search.tell([[0.0]], [0.0])
    search.ask()
    with pytest.raises(ValueError, match="bd is missing"):
        search.tell(None, np.zeros(20))
    with pytest.raises(ValueError, match="all finite"):
        search.tell(np.zeros((20, 2)), np.full(20, np.nan))
    learner = Taxons(2, SMALL, encoder=IdentityEncoder())
    learner.ask()
    with pytest.raises(ValueError, match="aux is missing"):
        learner.tell(None, np.zeros(20))
    with pytest.raises(ValueError, match="encoder is None"):
        Taxons(2, SMALL, encoder=None)
    with pytest.raises(ValueError, match="multiples of 16"):
        ImageEncoder((20, 32, 3))
    with pytest.raises(ValueError, match="observations have shape"):
        ImageEncoder((32, 32, 3)).encode(np.zeros((2, 16, 16, 3)))
    with pytest.raises(ValueError, match="archive_choice"):
        Settings(archive_choice="worst")
    with pytest.raises(ValueError, match=r"Settings\.k is 0"):
        Settings(k=0)
    assert len(Archive()) == 0
