"""What operators ask of one node and tell it to do: handlers for the node RPC, traces, rates."""
