"""The directory: what the database knows of nodes, sessions, subscriptions and drops, for people and services."""
