"""The directory: nodes, sessions, subscriptions and drops as the database knows them."""
