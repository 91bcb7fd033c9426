"""Writes. Each verb owns its permission, its audit entry, its transaction and what is announced after it.

registering  register one client or many
clients      change, enable, disable, kick, unregister
credentials  add, rotate, remove
groups, rules, bans
accounts     service accounts and roles
operators    tokens for the web client
refusals     what the node refused
upkeep       what is forgotten, and when
"""
