"""How far a person's answers are to be trusted: what is looked at, by which parameters, and with what result."""

from pickapic.collect.quality.policy import Policy, fingerprint, policy_from

__all__ = ["Policy", "fingerprint", "policy_from"]
