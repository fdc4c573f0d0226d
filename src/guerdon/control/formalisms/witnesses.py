"""Why the relation has no other edges: for each base non-edge an ordering that one formalism states and another cannot.

Finite witnesses come with a certificate over some policies. Where only a continuum of policies will do, the certificate
is an argument in words together with its checkable step, run on random instances: continuity (discounted machines),
ties that no function of one return can break (`OuterNonlinear`), and intervals without number (orderings that no real
function states).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism, dominates, representative
from guerdon.control.formalisms.limit_average import LimitAverage
from guerdon.control.formalisms.logic import eventually, next_is
from guerdon.control.formalisms.markov import MarkovReward, OuterNonlinear, RegularisedReward, negative_entropy
from guerdon.control.formalisms.objective import Objective, lexicographic, sign
from guerdon.control.formalisms.orderings import GeneralisedOuterMultiObjective
from guerdon.control.formalisms.outer import PolicyFunction
from guerdon.control.formalisms.refutation import Certificate, levels, refute
from guerdon.control.formalisms.reward_machine import RewardMachine
from guerdon.control.mdp import Array
from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy

TRIALS = 25
_PAID = (
    "; what a visit of state 1 is worth enters a sum over visits gamma p / (1 - gamma + gamma p) times, "
    "which no discount makes equal for p = 1/2 and p = 1"
)


@dataclass(frozen=True, eq=False)
class Argument:
    """A proof over a continuum of policies: words, and a step that is checked on random instances.

    Attributes:
        formalism: The formalism that is refuted.
        text: The argument.
        check: Draws one instance of the formalism and says whether the step holds for it.
        trials: How many instances `verify` draws.
    """

    formalism: Formalism
    text: str
    check: Callable[[np.random.Generator], bool]
    trials: int = TRIALS

    def verify(self) -> bool:
        """Check the step on instances of fixed seeds."""
        return all(self.check(np.random.default_rng(seed)) for seed in range(self.trials))


@dataclass(frozen=True, eq=False)
class Witness:
    """An ordering that `lower` states and `upper` cannot.

    Attributes:
        upper: The formalism that cannot state it.
        lower: The formalism that does.
        spec: The objective, of the class of `lower`.
        env: The environment.
        statement: What it is, in words.
        certificate: The proof.
    """

    upper: Formalism
    lower: Formalism
    spec: Objective
    env: FiniteMDP
    statement: str
    certificate: Certificate | Argument


@cache
def witnesses() -> tuple[Witness, ...]:
    """A witness for each base non-edge; all others follow by the closure, see `witness_for`."""
    return (
        *_mixtures(),
        *_xor(),
        _inner_preference(),
        _entropy_of_three(),
        *_detour(),
        *_transients(),
        *_three_ends(),
        _unreachable(),
        _no_number(),
    )


def witness_for(x: Formalism, y: Formalism) -> Witness:
    """A witness that x does not dominate y.

    Its formalisms may be stronger than x and weaker than y: what a stronger one cannot state, x cannot.

    Raises:
        ValueError: x dominates y.
    """
    if dominates(x, y):
        raise ValueError(f"{x.name} dominates {y.name}: there is no witness")
    found = [each for each in witnesses() if dominates(each.upper, x) and dominates(y, each.lower)]
    # The one that speaks of just these two, if there is one.
    return min(found, key=lambda each: (each.upper != representative(x)) + (each.lower != representative(y)))


def bandit(arms: int) -> FiniteMDP:
    """One choice among some arms, and the end."""
    tau = np.zeros((2, arms, 2))
    tau[:, :, 1] = 1
    return FiniteMDP(tau, [1.0, 0.0])


def arm_policy(*probabilities: float) -> Array:
    """A policy of `bandit`: the probabilities of its arms."""
    return np.array([probabilities, np.eye(len(probabilities))[0]])


def _finite(upper: Formalism, spec: Objective, env: FiniteMDP, policies: list[Array], statement: str) -> Witness:
    certificate = refute(policies, levels(spec, env, policies), upper, env)
    if certificate is None:
        raise RuntimeError(f"{upper.name} states what {spec.formalism.name} states: {statement}")
    return Witness(upper, representative(spec.formalism), spec, env, statement, certificate)


def _mixtures() -> tuple[Witness, ...]:
    env = bandit(2)
    policies = [arm_policy(1, 0), arm_policy(0.5, 0.5), arm_policy(0, 1)]
    paid = np.zeros((2, 2))
    paid[0, 0] = 1.0
    text = "bandit of two arms: the even mixture is better than both arms, though a mean over trajectories is between"
    entropy = RegularisedReward(np.zeros(2), 1.0, negative_entropy, 0.9)
    middle = OuterNonlinear(paid, lambda value: -abs(value - 0.5), 0.9)
    return tuple(_finite(Formalism.FTR, spec, env, policies, text) for spec in (entropy, middle))


def _xor() -> tuple[Witness, ...]:
    env, machine = xor_chain(), xor_machine()
    corners = [xor_policy(first, second) for first in (0, 1) for second in (0, 1)]
    text = "two choices in a row: differ is better than agree, though sums over visits give 01 + 10 = 00 + 11"

    def tie(generator: np.random.Generator) -> bool:
        """Two policies that tie under a random return, and of which the machine prefers one."""
        value = _random_return(env, generator)
        base, first, second = (value(xor_policy(*at)) for at in ((0, 0), (1, 0), (0, 1)))
        across = np.array([second - base, base - first])
        across = across / np.abs(across).max() if np.abs(across).max() > 0 else np.array([1.0, 0.0])
        for point in ((0.5, 0.5), (0.3, 0.3)):
            for step in (0.25, -0.25, 0.2, -0.2):
                there = np.array(point) + step * across
                one, two = xor_policy(*point), xor_policy(*there)
                if sign(value(one), value(two)) == 0 and machine.compare(env, one, two) != 0:
                    return True
        return False

    lines = Argument(
        Formalism.ONMR,
        "A function of one return ties all policies with that return. In the two probabilities the return is linear, "
        "so that its ties are lines; along each line p + q - 2 p q changes, unless the line is p = 1/2 or q = 1/2.",
        tie,
    )
    return (
        _finite(Formalism.RRL, machine, env, corners, text),
        Witness(Formalism.ONMR, Formalism.RM, machine, env, "two choices in a row: p + q - 2 p q", lines),
    )


def _inner_preference() -> Witness:
    env = xor_chain()
    paid = np.zeros((3, 2))
    paid[0, 1] = paid[1, 1] = 1.0
    # Returns of 00, 01, 10, 11 are 0, 0.5, 1, 1.5.
    spec = OuterNonlinear(paid, lambda value: -abs(value - 0.75), 0.5)
    corners = [xor_policy(first, second) for first in (0, 1) for second in (0, 1)]
    text = "two choices in a row: returns near 0.75 are best, so that 01 and 10 are better than 00 and 11"
    return _finite(Formalism.RRL, spec, env, corners, text)


def _entropy_of_three() -> Witness:
    env = bandit(3)
    spec = RegularisedReward(np.zeros(2), 1.0, negative_entropy, 0.9)

    def tie(generator: np.random.Generator) -> bool:
        """Another mixture that ties with the even one under a random return."""
        value = _random_return(env, generator)
        arms = np.array([value(arm_policy(*row)) for row in np.eye(3)])
        across = np.cross(np.ones(3), arms)
        across = across / np.abs(across).max() if np.abs(across).max() > 0 else np.array([1.0, -1.0, 0.0])
        even, other = arm_policy(*[1 / 3] * 3), arm_policy(*(1 / 3 + 0.3 * across))
        return sign(value(even), value(other)) == 0 and spec.compare(env, even, other) == 1

    argument = Argument(
        Formalism.ONMR,
        "Mixtures of three arms have two dimensions, and a return is linear in them: a whole line through the even "
        "mixture ties with it under every function of the return. By entropy the even mixture alone is best.",
        tie,
    )
    return Witness(Formalism.ONMR, Formalism.RRL, spec, env, "bandit of three arms, by entropy", argument)


def detour() -> FiniteMDP:
    """State 0: stay or go to 1. State 1: to the good end 2 or to the bad end 3."""
    tau = np.zeros((4, 2, 4))
    tau[0, 0, 0] = tau[0, 1, 1] = tau[1, 0, 3] = tau[1, 1, 2] = 1
    tau[2, :, 2] = tau[3, :, 3] = 1
    return FiniteMDP(tau, np.eye(4)[0])


def detour_policy(go: float, good: float) -> Array:
    """A policy of `detour`: the probabilities of going, and of the good end."""
    return np.array([[1 - go, go], [1 - good, good], [1.0, 0.0], [1.0, 0.0]])


def _detour() -> list[Witness]:
    env = detour()
    corners = [detour_policy(go, good) for go in (0.5, 1) for good in (0, 1)]
    found = []
    for spec in (LimitAverage(np.eye(4)[2]), eventually(env, [2])):
        lower = spec.formalism
        text = "reach the good end at some time: how long one stays on the way does not count"
        found.append(_finite(Formalism.RRL, spec, env, corners, text + _PAID))
        found.append(Witness(Formalism.RM, lower, spec, env, text + ", but never to go does", _jump(env, spec)))
        found.append(Witness(Formalism.ONMR, lower, spec, env, text, _crossing(env, spec)))
    return found


def _jump(env: FiniteMDP, spec: Objective) -> Argument:
    def bounded(generator: np.random.Generator) -> bool:
        """The order jumps at 0; a random machine's value does not."""
        machine = _random_machine(env, generator)
        good = float(generator.uniform(0.2, 1))
        never, surely = detour_policy(0, good), detour_policy(1, good)
        largest, gamma = float(np.abs(machine.rewards).max()), machine.gamma
        for go in (0.5, 0.1, 1e-3, 1e-5):
            seldom = detour_policy(go, good)
            if spec.compare(env, seldom, surely) != 0 or spec.compare(env, never, seldom) != -1:
                return False
            gap = abs(machine.value(env, seldom) - machine.value(env, never))
            if gap > 2 * largest * go / (1 - gamma) ** 2 + 1e-9:
                return False
        return True

    return Argument(
        Formalism.RM,
        "All policies that go with any probability above 0 tie, and the one that never goes is worse. A discounted "
        "machine's value is continuous in the policy: it differs from that of never going by at most "
        "2 max|R| p / (1 - gamma)^2, so that with all p > 0 tied it would have to tie with p = 0 too.",
        bounded,
    )


def _crossing(env: FiniteMDP, spec: Objective) -> Argument:
    def tie(generator: np.random.Generator) -> bool:
        """Two policies with the same random return and different chances of the good end."""
        value = _random_return(env, generator)
        one = (0.5, 0.5)
        aim = value(detour_policy(*one))
        for step in (0.2, -0.2, 1e-2, -1e-2, 1e-3, -1e-3):
            good = one[1] + step
            low, high = 0.05, 1.0
            gaps = [value(detour_policy(go, good)) - aim for go in (low, high)]
            if gaps[0] * gaps[1] > 0:
                continue
            for _ in range(200):
                middle = (low + high) / 2
                if (value(detour_policy(middle, good)) - aim) * gaps[0] > 0:
                    low = middle
                else:
                    high = middle
            first, second = detour_policy(*one), detour_policy(high, good)
            if sign(value(first), value(second)) == 0:
                return spec.compare(env, first, second) != 0
        return False

    return Argument(
        Formalism.ONMR,
        "Ties are the lines of equal chance q of the good end, for every p > 0 of going. A function of one return "
        "needs returns of different q to differ. The return is continuous: either it moves with p, and meets the "
        "return of a nearby q, or it is constant in p for two different q, and then it is the same for both.",
        tie,
    )


def _transients() -> list[Witness]:
    tau = np.zeros((2, 2, 2))
    tau[0, 0] = [0.9, 0.1]
    tau[0, 1, 1] = tau[1, :, 1] = 1
    env = FiniteMDP(tau, [1.0, 0.0])
    policies = [np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])]
    text = "sooner is better: both policies come to state 1 and stay, so that all long-run averages are equal"
    specs: tuple[Objective, ...] = (MarkovReward(np.array([0.0, 1.0]), 0.5), next_is(env, [1]))
    return [_finite(Formalism.LAR, spec, env, policies, text) for spec in specs]


def _three_ends() -> list[Witness]:
    tau = np.zeros((4, 3, 4))
    for arm in range(3):
        tau[0, arm, arm + 1] = tau[1 + arm, :, 1 + arm] = 1
    env = FiniteMDP(tau, np.eye(4)[0])
    policies = [np.vstack([np.eye(3)[arm], np.tile([1.0, 0.0, 0.0], (3, 1))]) for arm in range(3)]
    paid = np.array([0.0, 0.0, 1.0, 2.0])
    text = "three ends of different worth, reached for sure: a formula holds or does not, which is two levels"
    specs: tuple[Objective, ...] = (MarkovReward(paid, 0.5), LimitAverage(paid))
    return [_finite(Formalism.LTL, spec, env, policies, text) for spec in specs]


def _unreachable() -> Witness:
    tau = np.zeros((2, 2, 2))
    tau[0, :, 0] = tau[1, :, 1] = 1
    env = FiniteMDP(tau, [1.0, 0.0])
    spec = PolicyFunction(lambda pi: float(pi[1, 1]))
    policies = [np.array([[1.0, 0.0], row]) for row in ([1.0, 0.0], [0.0, 1.0])]
    text = "what to do in a state that is never reached: it changes no trajectory"
    return _finite(Formalism.TLO, spec, env, policies, text)


def _no_number() -> Witness:
    env = bandit(3)
    rewards = [np.array([np.eye(3)[arm], np.zeros(3)]) for arm in (0, 1)]
    spec = GeneralisedOuterMultiObjective(rewards, lexicographic, 0.9)

    def apart(generator: np.random.Generator) -> bool:
        """Both policies of one first return are below both of any larger one, and differ themselves."""
        small, large = np.sort(generator.uniform(0, 0.9, 2))
        if large - small < 1e-6:
            return True
        chain = [arm_policy(at, share * (1 - at), (1 - share) * (1 - at)) for at in (small, large) for share in (0, 1)]
        return all(spec.compare(env, two, one) == 1 for place, one in enumerate(chain) for two in chain[place + 1 :])

    argument = Argument(
        Formalism.FPR,
        "For each value of the first return two policies differ in the second: a function of policies would need an "
        "interval of its own for each, and there is no room for more than countably many disjoint intervals.",
        apart,
    )
    return Witness(Formalism.FPR, Formalism.TLO, spec, env, "two returns, the first before the second", argument)


def _random_return(env: FiniteMDP, generator: np.random.Generator) -> Callable[[Array], float]:
    """The return of a random Markov reward and discount."""
    reward = generator.standard_normal((env.states, env.actions, env.states))
    spec = MarkovReward(reward, float(generator.choice([0.0, generator.uniform(0, 0.95)], p=[0.1, 0.9])))
    return lambda pi: spec.value(env, pi)


def _random_machine(env: FiniteMDP, generator: np.random.Generator) -> RewardMachine:
    size = int(generator.integers(1, 5))
    shape = (size, env.states, env.actions, env.states)
    moves = generator.integers(0, size, shape)
    return RewardMachine(moves, generator.standard_normal((size, *shape)), float(generator.uniform(0, 0.95)))
