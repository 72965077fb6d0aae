"""Rewards of policy training: what scores a completion, a formula over components such as `coverage * fluent(...)`.

`reward_of` reads the formula; called with several `Said`, the reward gives `Rewarded`: totals, and parts by component.
"""

from lmalgebra.training.policies.rewards.base import Reward, Rewarded, Said, constant
from lmalgebra.training.policies.rewards.combined import Combined
from lmalgebra.training.policies.rewards.kinds import KINDS
from lmalgebra.training.policies.rewards.written import reward_of

__all__ = ["KINDS", "Combined", "Reward", "Rewarded", "Said", "constant", "reward_of"]
