"""guerdon inside verl: credit stages as advantage estimators, objectives as policy losses, verifiers as rewards.

```python
import guerdon.adapters.verl

guerdon.adapters.verl.register()
```

in every process of a run, or `VERL_USE_EXTERNAL_MODULES=guerdon.adapters.verl.plugin` in its environment. Then

```text
algorithm.adv_estimator=guerdon_group_normalized  +algorithm.guerdon.scale=none
actor_rollout_ref.actor.policy_loss.loss_mode=guerdon_clipped_surrogate
reward.custom_reward_function.path=pkg://guerdon.adapters.verl.rewards
```

choose a stage, set its fields, and score with a verifier. `guerdon.adapters.verl.estimator_names()` and `loss_names()`
list what there is. Importing this package does not import verl.
"""

from guerdon.adapters.verl.names import critic_stages, estimator_names, loss_names
from guerdon.adapters.verl.registration import register
from guerdon.adapters.verl.rewards import compute_score
from guerdon.adapters.verl.values import to_rollouts

__all__ = ["compute_score", "critic_stages", "estimator_names", "loss_names", "register", "to_rollouts"]
