"""What is so for all tests."""

from hypothesis import HealthCheck, settings

# An example that took long says something of the machine, which may stand still at any moment, and not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
