"""Servers for development: Kafka, Redis and a whole cluster on one machine. Used by tests and benchmarks."""
