"""What every app shares: who asks, what they may, the audit trail, errors, lists, the API's base."""
