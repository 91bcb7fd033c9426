"""HTTP and WebSocket on the node's loop."""
