"""Kafka between the nodes, and between devices and back-end services."""
