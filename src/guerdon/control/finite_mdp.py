"""A finite MDP as one value, and where to get one: a file, a gymnasium environment, a function.

Files: `.npz` with `tau` (S, A, S), or the parts of a sparse (S * A, S) matrix as `tau_data`, `tau_indices`,
`tau_indptr`, `tau_shape`; optional `mu0` (S,), default uniform, and `gamma`. `.json` with the same names as lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from guerdon.control.mdp import Array, Transitions, check_discount, check_start, check_transitions
from guerdon.storage import atomic_write

_SPARSE = ("data", "indices", "indptr", "shape")


@dataclass(frozen=True, eq=False)
class FiniteMDP:
    """An environment without a reward.

    Attributes:
        tau: (S, A, S) float64 transitions, or scipy sparse (S * A, S).
        mu0: (S,) float64 law of the first state; None = uniform.
        gamma: The discount that belongs to it, or None.

    Raises:
        ValueError: Shapes or probabilities are wrong, or gamma is outside [0, 1).
    """

    tau: Transitions
    mu0: Any = None
    gamma: float | None = None

    def __post_init__(self) -> None:
        if not sparse.issparse(self.tau):
            object.__setattr__(self, "tau", np.asarray(self.tau, dtype=np.float64))
        states, _ = check_transitions(self.tau)
        start = np.full(states, 1 / states) if self.mu0 is None else self.mu0
        object.__setattr__(self, "mu0", check_start(start, states))
        if self.gamma is not None:
            object.__setattr__(self, "gamma", check_discount(self.gamma))

    @property
    def states(self) -> int:
        """S."""
        return int(self.tau.shape[1] if sparse.issparse(self.tau) else self.tau.shape[0])

    @property
    def actions(self) -> int:
        """A."""
        return int(self.tau.shape[0] // self.tau.shape[1] if sparse.issparse(self.tau) else self.tau.shape[1])


def load_mdp(path: str | Path) -> FiniteMDP:
    """Read an MDP from a `.npz` or `.json` file.

    Raises:
        ValueError: The file is of another kind, lacks `tau`, or what it holds is no MDP.
    """
    file = Path(path)
    if file.suffix == ".npz":
        with np.load(file) as stored:
            parts: dict[str, Any] = {name: stored[name] for name in stored.files}
    elif file.suffix == ".json":
        parts = dict(json.loads(file.read_text()))
    else:
        raise ValueError(f"{file}: expected an MDP as .npz or .json")
    if all(f"tau_{name}" in parts for name in _SPARSE):
        data, indices, indptr, shape = (np.asarray(parts[f"tau_{name}"]) for name in _SPARSE)
        parts["tau"] = sparse.csr_matrix((data, indices, indptr), shape=tuple(int(size) for size in shape))
    if "tau" not in parts:
        raise ValueError(f"{file}: holds {sorted(parts)}: expected 'tau', or 'tau_data' and the other sparse parts")
    gamma = parts.get("gamma")
    try:
        return FiniteMDP(parts["tau"], parts.get("mu0"), None if gamma is None else float(gamma))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def save_mdp(mdp: FiniteMDP, path: str | Path) -> None:
    """Write an MDP to a `.npz` file, sparse transitions as their parts."""
    parts: dict[str, Any] = {"mu0": mdp.mu0}
    if mdp.gamma is not None:
        parts["gamma"] = mdp.gamma
    if sparse.issparse(mdp.tau):
        matrix = mdp.tau.tocsr()
        parts.update({f"tau_{name}": np.asarray(getattr(matrix, name)) for name in _SPARSE})
    else:
        parts["tau"] = mdp.tau
    atomic_write(Path(path), lambda handle: np.savez_compressed(handle, **parts))


def from_gymnasium(environment: Any) -> tuple[FiniteMDP, Array]:
    """The MDP of a gymnasium environment that publishes its table `P`, and its own reward.

    That holds for the toy-text environments (FrozenLake, CliffWalking, Taxi). An episode's end becomes a state of its
    own that is never left and pays nothing.

    Args:
        environment: The environment, or its id, such as "FrozenLake-v1".

    Returns:
        The MDP, sparse, and its mean reward as (S, A) float64, where S counts the end.

    Raises:
        ValueError: It has no table.
    """
    if isinstance(environment, str):
        import gymnasium

        environment = gymnasium.make(environment)
    inner = environment.unwrapped
    table: Mapping[int, Mapping[int, list[tuple[float, int, float, bool]]]] | None = getattr(inner, "P", None)
    if table is None:
        raise ValueError(f"{inner}: has no table P of transitions, so that it cannot be solved exactly")
    states, actions = len(table) + 1, len(table[0])
    end = states - 1
    rows, columns, weights = [], [], []
    reward = np.zeros((states, actions))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for probability, after, paid, done in outcomes:
                rows.append(state * actions + action)
                columns.append(end if done else after)
                weights.append(probability)
                reward[state, action] += probability * paid
    rows.extend(range(end * actions, states * actions))
    columns.extend([end] * actions)
    weights.extend([1.0] * actions)
    tau = sparse.csr_matrix((weights, (rows, columns)), shape=(states * actions, states))
    tau.sum_duplicates()
    first = getattr(inner, "initial_state_distrib", None)
    start = None if first is None else np.append(np.asarray(first, dtype=np.float64), 0.0)
    return FiniteMDP(tau, start), reward


def imported(path: str) -> Any:
    """What "module:attribute" names.

    Raises:
        ValueError: It is written in another way, or there is no such thing.
    """
    from guerdon.score.verifiers import attribute_at

    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"{path!r}: expected module:attribute")
    try:
        return attribute_at(path)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"{path!r}: {error}") from error


def as_mdp(value: Any) -> FiniteMDP:
    """An MDP from a `FiniteMDP`, from (tau, mu0[, gamma]), or from an object that has `tau` and maybe `mu0`, `gamma`.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, FiniteMDP):
        return value
    if isinstance(value, tuple) and len(value) in (2, 3):
        return FiniteMDP(*value)
    if hasattr(value, "tau"):
        return FiniteMDP(value.tau, getattr(value, "mu0", None), getattr(value, "gamma", None))
    raise ValueError(f"{type(value).__name__} is no finite MDP: expected FiniteMDP, (tau, mu0), or an object with tau")


def reward_table(function: Callable[[int, int, int], float], mdp: FiniteMDP, everywhere: bool = False) -> Any:
    """A Python function as a reward.

    Args:
        function: (state, action, next state), three integers -> a number.
        mdp: Where it is asked.
        everywhere: Whether it is also asked about transitions that cannot happen; dense transitions only.

    Returns:
        (S, A, S) float64, 0 where it was not asked; with sparse transitions a sparse (S * A, S) matrix.
    """
    states, actions = mdp.states, mdp.actions
    matrix = mdp.tau if sparse.issparse(mdp.tau) else np.reshape(mdp.tau, (-1, states))
    rows, columns = matrix.nonzero()
    if everywhere:
        if sparse.issparse(mdp.tau):
            raise ValueError("with sparse transitions a reward is asked about what can happen only")
        rows, columns = (index.ravel() for index in np.indices(matrix.shape))
    values: ArrayLike = [
        float(function(int(row) // actions, int(row) % actions, int(column)))
        for row, column in zip(rows, columns, strict=True)
    ]
    table = sparse.csr_matrix((values, (rows, columns)), shape=matrix.shape)
    return table if sparse.issparse(mdp.tau) else table.toarray().reshape(states, actions, states)
