"""The nodes of a cluster: who is alive, who owns a client id, who wants which topic, what is retained."""
