"""Learning the migration policy where transitions are unknown or drift: estimators, learners, rivals, and what they run on. Pure."""
